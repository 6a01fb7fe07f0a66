"""The same protocol on both sides: the bytes pass, event by event, and what stands in them for
something of the client's is put back.

Strategy: the upstream's decoder reads beside. Most events are plain text, one look each; any other
is read as a translated one would be. An event passes as it came, or, where it had to be mended, as
it was meant. Where the decoder gives up, the client's stream ends with its protocol's own error.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from ..tools.bridge import Bridge
from ..turn import Event, Failure, Usage
from .decoder import Seen
from .lenient import DONE, Unreadable, read
from .responses.named import Named
from .seams import whole
from .sse import MOST, Splitter, SSEDecoder, encode, is_stream
from .unmask import UnmaskStream

if TYPE_CHECKING:
    from .translate import Translation

_NUMBER = re.compile(rb'"sequence_number": ?(\d{1,15})')


class Passthrough:
    """An answer that passes."""

    def __init__(self, translation: Translation) -> None:
        turn, route = translation.turn, translation.route
        self._translation = translation
        self._decoder = translation.upstream.decoder(lambda: turn.seed, route.provider, set)
        self._plain = self._decoder.plain
        self._events = Splitter()
        #: What the client got.
        self._sent: list[bytes] = []
        self._over = False
        unmask = translation.unmask
        self._unmask = UnmaskStream(turn.protocol, unmask) if unmask else None
        asked = translation.written_back
        self._named = Named(route.model, asked) if asked else None
        self.failure: Failure | None = None
        self.repaired: list[str] = []

    @property
    def usage(self) -> Usage | None:
        return self._decoder.usage

    @property
    def calls(self) -> int:
        return self._decoder.calls

    @property
    def response(self) -> dict[str, Any] | None:
        return self._response if self._decoder.ended and not self.failure else None

    def feed(self, data: bytes) -> bytes:
        if self._over or self._translation.packed:
            return b"" if self._over else data
        one = data[-2:] == b"\n\n" or data[-4:] == b"\r\n\r\n"
        if one and not self._events.held and self._plain(data) is not None:
            return self._back(data)
        out = self._back(b"".join([self._event(raw) for raw in self._events.feed(data)]))
        if self._events.too_long:
            self._note(self._decoder.give_up(f"sent an event of over {MOST >> 20} MB"))
            self._over = True
        return out + self._broken() if self._decoder.spoilt else out

    def close(self) -> bytes:
        if self._over or self._translation.packed:
            return b""
        decoder, rest = self._decoder, self._events.close()
        if decoder.ended:
            return self._back(self._event(rest)) + self._last()
        decoder.seen, decoder.mended = [], False
        self._note([*decoder.feed(rest), *decoder.close()])
        if decoder.spoilt or decoder.mended or decoder.cut:
            rest = _written(decoder.seen)
        if decoder.spoilt:
            return self._back(rest) + self._broken()
        if decoder.stopped:
            # All is there but the mark that says so.
            rest += (b"" if rest[-1:] in (b"", b"\n") else b"\n") + b"\n" * bool(rest) + decoder.END
        return self._back(rest) + self._last()

    def abort(self, failure: Failure) -> bytes:
        self.failure = failure
        return self._broken()

    def whole(self, body: bytes) -> bytes | None:
        if is_stream(body):
            return self.feed(body) + self.close()
        if self._translation.turn.stream:
            return None
        try:
            value, mended = whole(body)
            if not isinstance(value, dict) or value.get("error") or value.get("type") == "error":
                return None
        except Unreadable:
            return None
        self._note(self._decoder.whole(body))
        if self._decoder.spoilt:
            return None
        body = msgspec.json.encode(value) if mended else body
        body = self._unmask.whole(body) if self._unmask else body
        body = self._named.whole(body) if self._named else body
        self._sent = [body]
        return body

    def _event(self, raw: bytes) -> bytes:
        """What the client gets for one event that is no plain text."""
        decoder = self._decoder
        if decoder.ended:
            return raw if not decoder.spoilt and _is_strict(raw) else b""
        decoder.seen, decoder.mended = [], False
        self._note(decoder.feed(raw))
        return _written(decoder.seen) if decoder.mended or decoder.spoilt else raw

    def _note(self, events: list[Event]) -> None:
        failures = [event for event in events if isinstance(event, Failure)]
        self.failure = self.failure or next(iter(failures), None)

    def _back(self, data: bytes) -> bytes:
        """``data`` with what is the client's put back."""
        data = self._unmask.feed(data) if self._unmask else data
        data = self._named.feed(data) if self._named else data
        self._sent.append(data)
        return data

    def _last(self) -> bytes:
        """What was held of it."""
        data = self._unmask.close() if self._unmask else b""
        data = self._named.feed(data) + self._named.close() if self._named else data
        self._sent.append(data)
        return data

    def _broken(self) -> bytes:
        """The end of a stream that cannot go on."""
        assert self.failure
        self._over = True
        held, started = self._last(), self._decoder.started
        numbers = (found for data in reversed(self._sent) for found in _NUMBER.findall(data)[-1:])
        last = next(numbers, None)
        return held + self._translation.client.failed_event(
            self.failure,
            id=started.id if started else "failed",
            number=int(last) + 1 if last else 0,
            codex=self._translation.codex,
        )

    @cached_property
    def _response(self) -> dict[str, Any] | None:
        """The whole answer, of what the client got."""
        translation, body = self._translation, b"".join(self._sent)
        if not is_stream(body):
            return whole(body)[0]
        turn, route = translation.turn, translation.route
        decoder = translation.upstream.decoder(lambda: turn.seed, route.provider, set)
        events = [*decoder.feed(body), *decoder.close()]
        if decoder.response or not decoder.started:
            return decoder.response
        encoder = translation.client.encoder(
            turn=turn, model=turn.model, provider=route.provider, bridge=Bridge([]), codex=False
        )
        encoder.encode(events)
        return {**(encoder.response or {}), "id": decoder.started.id}


def _written(seen: list[Seen]) -> bytes:
    """Events as they were read, on the wire."""
    out = []
    for name, value in seen:
        if name is None:
            out.append(b": %b\n\n" % value)
        elif value is DONE:
            out.append(b"data: [DONE]\n\n")
        else:
            data = msgspec.json.encode(value)
            out.append(encode(name, data) if name else b"data: %b\n\n" % data)
    return b"".join(out)


def _is_strict(raw: bytes) -> bool:
    """Whether every client can read what comes behind the end."""
    events = SSEDecoder()
    try:
        read_as = [read(data)[1] for name, data in events.feed(raw) + events.close() if name]
    except Unreadable:
        return False
    return not (events.mended or any(read_as))
