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
from .characters import whole
from .decoder import LoggedEvent
from .lenient import DONE, Unreadable
from .responses.named import Named
from .sse import MOST, Splitter, SSEDecoder, encode, is_stream
from .unmask import UnmaskStream

if TYPE_CHECKING:
    from .translate import Translation

#: A search for a byte by its number is the fastest.
_LF, _CR = 10, 13
#: Characters that stand for themselves in a JSON string.
_SAFE = bytes(c for c in range(0x20, 0x7F) if c not in b'"\\')
_NUMBER = re.compile(rb'"sequence_number": ?(\d{1,15})')


class Passthrough:
    """An answer that passes."""

    def __init__(self, translation: Translation) -> None:
        turn, route = translation.turn, translation.route
        self._translation = translation
        self._decoder = decoder = translation.upstream.decoder(
            lambda: turn.seed, route.provider, set
        )
        self._plain_text, self._prefix = decoder.plain_text, decoder.TEXT_PREFIX
        self._offset, self._field = len(self._prefix), decoder.TEXT_FIELD
        #: The bytes around the text of the last plain event, and where it is; see `_remember`.
        self._head = self._tail = b""
        self._start = self._stop = self._shortest = 0
        self._splitter = Splitter()
        self._held = self._splitter.held
        #: What the client got.
        self._sent: list[bytes] = []
        self._append = self._sent.append
        self._closed = self._unstreamed = False
        unmask, name = translation.unmask, translation.written_back
        self._unmask = UnmaskStream(turn.protocol, unmask) if unmask else None
        self._named = Named(route.model, name) if name else None
        self._restores = bool(self._unmask or self._named)
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
            and len(data) >= self._shortest
            and not (self._held or data[self._start : self._stop].translate(None, _SAFE))
        ):
            pass
        elif (
            data[: self._offset] == self._prefix
            and data[-2:] == b"\n\n"
            and not (_LF in (json := data[self._offset : -2]) or _CR in json or self._held)
            and (text := self._plain_text(json)) is not None
        ):
            # One event of plain text, on one line.
            if self._field and not self._head:
                self._remember(data, text.encode())
        else:
            return self._feed_events(data)
        if self._restores:
            return self._restore(data)
        self._append(data)
        return data

    def _remember(self, data: bytes, text: bytes) -> None:
        """Keep the bytes around the text of a plain event: one that differs in its text alone is
        plain text too, and needs no decoding."""
        head, quoted, tail = data.partition(b'"%b"' % text)
        unique = head.rstrip().endswith(self._field) and data.count(self._field) == 1
        if text and quoted and unique and not text.translate(None, _SAFE):
            self._head, self._tail = head + b'"', b'"' + tail
            self._start, self._stop = len(self._head), -len(self._tail)
            self._shortest = self._start - self._stop

    def _feed_events(self, data: bytes) -> bytes:
        """What the client gets for anything else than one event of plain text."""
        if self._closed:
            return b""
        events = self._splitter.feed(data)
        out = self._restore(b"".join([self._pass(raw, not_text=raw is data) for raw in events]))
        if self._splitter.too_long:
            self._watch(self._decoder.give_up(f"sent an event of over {MOST >> 20} MB"))
            self._closed = True
        return out + self._error() if self._decoder.unreported else out

    def close(self) -> bytes:
        if self._closed:
            return b""
        decoder, rest = self._decoder, self._splitter.close()
        blank = b"\n" if rest.endswith(b"\n") else b"\n\n" if rest else b""
        if decoder.ended:
            return self._restore(self._pass(rest + blank, not_text=True)) + self._flush()
        decoder.log, decoder.mended = [], False
        self._watch([*decoder.feed(rest), *decoder.close()])
        rest += blank
        if decoder.unreported or decoder.mended or decoder.truncated:
            rest = _written(decoder.log)
        if decoder.unreported:
            return self._restore(rest) + self._error()
        if decoder.unterminated:
            # All is there but the mark that says so.
            rest += decoder.TERMINATOR
        return self._restore(rest) + self._flush()

    def abort(self, failure: Failure) -> bytes:
        self.failure = failure
        return self._error()

    def whole(self, body: bytes) -> bytes | None:
        if is_stream(body):
            return self.feed(body) + self.close()
        if self._translation.turn.stream:
            return None
        try:
            value, mended = whole(body)
            if says_error(value) or not self._translation.upstream.is_answer(value):
                return None
        except Unreadable:
            return None
        self._watch(self._decoder.whole(body))
        if self._decoder.unreported:
            return None
        body = msgspec.json.encode(value) if mended else body
        body = self._unmask.whole(body) if self._unmask else body
        body = self._named.whole(body) if self._named else body
        self._append(body)
        self._unstreamed = True
        return body

    def _pass(self, raw: bytes, *, not_text: bool) -> bytes:
        """What the client gets for one event; ``not_text``: it is not plain text."""
        decoder = self._decoder
        if decoder.ended:
            return raw if not decoder.unreported and _is_trailer(raw) else b""
        decoder.log, decoder.mended, self._head = [], False, b""
        # The decoder waits behind a CR, since it may be half of a line's end.
        event = raw + b"\n" if raw.endswith(b"\r") else raw
        self._watch(decoder.feed_event(event, not_text=not_text))
        return _written(decoder.log) if decoder.mended or decoder.unreported else raw

    def _watch(self, events: list[Event]) -> None:
        # A failure is the last event there is.
        if events and isinstance(event := events[-1], Failure):
            self.failure = self.failure or event

    def _restore(self, data: bytes) -> bytes:
        """``data`` with what is the client's put back."""
        data = self._unmask.feed(data) if self._unmask else data
        data = self._named.feed(data) if self._named else data
        self._append(data)
        return data

    def _flush(self) -> bytes:
        """What was held back of it."""
        data = self._unmask.close() if self._unmask else b""
        data = self._named.feed(data) + self._named.close() if self._named else data
        self._append(data)
        return data

    def _error(self) -> bytes:
        """The end of a stream that cannot go on."""
        assert self.failure
        self._closed, self._head = True, b""
        held, started = self._flush(), self._decoder.started
        numbers = (n for data in reversed(self._sent) for n in _NUMBER.findall(data)[-1:])
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
        if self._unstreamed:
            return whole(body)[0]
        turn, route = translation.turn, translation.route
        decoder = translation.upstream.decoder(lambda: turn.seed, route.provider, set)
        decoder.decode_long = None
        events = [*decoder.feed(body), *decoder.close()]
        if decoder.response or not decoder.started:
            return decoder.response
        encoder = translation.client.encoder(
            turn=turn, model=turn.model, provider=route.provider, bridge=Bridge([]), codex=False
        )
        encoder.encode(events)
        return {**(encoder.response or {}), "id": decoder.started.id}


def says_error(value: Any) -> bool:
    """Whether decoded JSON says, in any protocol's words, why there is no answer."""
    return isinstance(value, dict) and bool(value.get("error") or value.get("type") == "error")


def _written(log: list[LoggedEvent]) -> bytes:
    """Events as they were read, on the wire."""
    out = []
    for name, value in log:
        if name is None:
            out.append(b": %b\n\n" % value)
        elif value is DONE:
            out.append(b"data: [DONE]\n\n")
        else:
            # A line end between JSON's tokens is a blank.
            raw = value.replace(b"\n", b" ") if isinstance(value, bytes) else None
            data = raw or msgspec.json.encode(value)
            out.append(encode(name, data) if name else b"data: %b\n\n" % data)
    return b"".join(out)


def _is_trailer(raw: bytes) -> bool:
    """Whether what comes behind the end is a comment, or the mark of a stream's end."""
    decoder = SSEDecoder()
    events = decoder.feed(raw) + decoder.close()
    return all(name is None or data.strip() == b"[DONE]" for name, data in events)
