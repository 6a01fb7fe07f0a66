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
from .lenient import DONE, Unreadable
from .responses.named import Named
from .seams import whole
from .sse import MOST, Splitter, SSEDecoder, encode, is_stream
from .unmask import UnmaskStream

if TYPE_CHECKING:
    from .translate import Translation

#: A search for a byte by its number is the fastest.
_LF, _CR = 10, 13
#: Characters that stand for themselves in a text of JSON.
_SAFE = bytes(c for c in range(0x20, 0x7F) if c not in b'"\\')
_NUMBER = re.compile(rb'"sequence_number": ?(\d{1,15})')


class Passthrough:
    """An answer that passes."""

    def __init__(self, translation: Translation) -> None:
        turn, route = translation.turn, translation.route
        self._translation = translation
        self._decoder = translation.upstream.decoder(lambda: turn.seed, route.provider, set)
        self._plain, self._begins = self._decoder.plain, self._decoder.PLAIN
        self._behind, self._key = len(self._begins), self._decoder.KEY
        #: What stands around the text of the last plain event; empty where the next may mean more.
        self._head = self._tail = b""
        self._from = self._to = self._least = 0
        self._events = Splitter()
        self._held = self._events.held
        #: What the client got.
        self._sent: list[bytes] = []
        self._append = self._sent.append
        self._over = self._is_one = False
        unmask = translation.unmask
        self._unmask = UnmaskStream(turn.protocol, unmask) if unmask else None
        asked = translation.written_back
        self._named = Named(route.model, asked) if asked else None
        self._changes = bool(self._unmask or self._named)
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
        if (
            self._head
            and data.startswith(self._head)
            and data.endswith(self._tail)
            and len(data) >= self._least
            and not (self._held or data[self._from : self._to].translate(None, _SAFE))
        ):
            pass
        elif (
            data[: self._behind] == self._begins
            and data[-2:] == b"\n\n"
            and not (_LF in (inner := data[self._behind : -2]) or _CR in inner or self._held)
            and (text := self._plain(inner)) is not None
        ):
            # One event of plain text, on one line.
            if self._key:
                self._learn(data, text.encode())
        else:
            return self._closely(data)
        if self._changes:
            return self._back(data)
        self._append(data)
        return data

    def _closely(self, data: bytes) -> bytes:
        """The same for anything else than one event of plain text."""
        if self._over or self._translation.packed:
            return b"" if self._over else data
        found = self._events.feed(data)
        out = self._back(b"".join([self._event(raw, looked=raw is data) for raw in found]))
        if self._events.too_long:
            self._note(self._decoder.give_up(f"sent an event of over {MOST >> 20} MB"))
            self._over = True
        return out + self._broken() if self._decoder.spoilt else out

    def _learn(self, data: bytes, text: bytes) -> None:
        """Remember what stands around the text of a plain event: another that is like it but for
        its text is plain too, and needs no decoding."""
        if self._head:
            return
        head, found, tail = data.partition(b'"%b"' % text)
        named = head.rstrip().endswith(self._key) and data.count(self._key) == 1
        if text and found and named and not text.translate(None, _SAFE):
            self._head, self._tail = head + b'"', b'"' + tail
            self._from, self._to = len(self._head), -len(self._tail)
            self._least = self._from - self._to

    def close(self) -> bytes:
        if self._over or self._translation.packed:
            return b""
        decoder, rest = self._decoder, self._events.close()
        blank = b"\n" if rest.endswith(b"\n") else b"\n\n" if rest else b""
        if decoder.ended:
            return self._back(self._event(rest + blank, looked=True)) + self._last()
        decoder.seen, decoder.mended = [], False
        self._note([*decoder.feed(rest), *decoder.close()])
        rest += blank
        if decoder.spoilt or decoder.mended or decoder.cut:
            rest = _written(decoder.seen)
        if decoder.spoilt:
            return self._back(rest) + self._broken()
        if decoder.stopped:
            # All is there but the mark that says so.
            rest += decoder.END
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
        self._append(body)
        self._is_one = True
        return body

    def _event(self, raw: bytes, *, looked: bool) -> bytes:
        """What the client gets for one event; ``looked``: it is known not to be plain text."""
        decoder = self._decoder
        if decoder.ended:
            return raw if not decoder.spoilt and _says_nothing(raw) else b""
        decoder.seen, decoder.mended, self._head = [], False, b""
        # A CR at the end would be waited behind: it may be half of a line's end.
        whole = raw + b"\n" if raw.endswith(b"\r") else raw
        self._note(decoder.event(whole, looked=looked))
        return _written(decoder.seen) if decoder.mended or decoder.spoilt else raw

    def _note(self, events: list[Event]) -> None:
        # It is the last event there is.
        if events and isinstance(event := events[-1], Failure):
            self.failure = self.failure or event

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
        if self._is_one:
            return whole(body)[0]
        turn, route = translation.turn, translation.route
        decoder = translation.upstream.decoder(lambda: turn.seed, route.provider, set)
        decoder.light = None
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
            # A line end in JSON is a blank.
            raw = value.replace(b"\n", b" ") if isinstance(value, bytes) else None
            data = raw or msgspec.json.encode(value)
            out.append(encode(name, data) if name else b"data: %b\n\n" % data)
    return b"".join(out)


def _says_nothing(raw: bytes) -> bool:
    """Whether what comes behind the end is the mark of a stream's end, or a comment."""
    events = SSEDecoder()
    found = events.feed(raw) + events.close()
    return all(name is None or data.strip() == b"[DONE]" for name, data in found)
