"""What the decoders of all protocols have in common: events out of bytes, and what to do where they
cannot be read.

Strategy: a protocol says what an event means (``_event``), how an answer stops (``_stop``), and
which events are so plain that one look is enough (``plain``). Here each event is read strictly,
else as it was meant; one that says nothing plain ends the answer with a Failure, since the next
ones may go on with what it held. Nothing here or in a protocol raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ..turn import Event, Failure, KeepAlive, Started, Text, Usage
from .errors import event_failure
from .lenient import DONE, Unreadable, excerpt, is_cut, read
from .seams import Seams, whole
from .sse import MOST, SSEDecoder

#: What an event of a shape that nobody foresaw may raise.
_ODD = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
#: A search for a byte by its number is the fastest.
_LF, _CR, _OPEN = b"\n\r{"
#: One event as it was read: its name, or None for a comment; its value, or the bytes that say it.
Seen = tuple[str | None, Any]


class StreamDecoder:
    """Bytes of an upstream's answer in, canonical events out.

    ``seed`` stands in for missing ids; ``taken`` gives the call ids the conversation has. Both
    cost a walk over the request, so they are asked for only when needed.

    ``started`` is how the answer began; ``ended``: nothing more is read; ``spoilt``: it failed, and
    no event of its protocol says so; ``mended``: some event was other than its bytes say; ``cut``:
    the last one is not whole; ``stopped``: the stream ended, but no event said so. ``seen``, where
    it is a list, gets each event that was read.
    """

    #: Decodes no more of long events than is read here; ValueError for others.
    light: Callable[[bytes], Any] | None = None
    #: An event of plain text: the field its text is in, where nothing but the text differs from one
    #: to the next; its name; and how it begins on the wire.
    KEY: ClassVar[bytes] = b""
    NAME: ClassVar[str] = ""
    PLAIN: ClassVar[bytes] = b"data: "
    #: What ends a whole answer on the wire, where the protocol has words for it alone.
    END: ClassVar[bytes] = b""
    #: The upstream's own account of the whole answer, where the protocol has one.
    response: dict[str, Any] | None = None

    def __init__(
        self, seed: Callable[[], str], upstream: str, taken: Callable[[], set[str]]
    ) -> None:
        self._sse = SSEDecoder()
        self._seams = Seams()
        self._seed = seed
        self._upstream = upstream
        self._taken = taken
        self._ids: set[str] | None = None
        #: Whether an event may be plain: nothing waits for the next one.
        self._fast = False
        self.started: Started | None = None
        self.ended = self.spoilt = self.mended = self.cut = self.stopped = False
        self.seen: list[Seen] | None = None

    @property
    def usage(self) -> Usage | None:
        """Tokens, as far as the answer has told of them."""
        return None

    @property
    def calls(self) -> int:
        """How many tool calls the answer holds so far."""
        return 0

    def plain(self, data: bytes) -> str | None:
        """The text of an event that says nothing else, by the JSON behind ``PLAIN``; None: look at
        it closely."""
        raise NotImplementedError

    def _event(self, name: str, data: dict[str, Any], out: list[Event]) -> None:
        raise NotImplementedError

    def _answer(self, data: dict[str, Any], out: list[Event]) -> None:
        """An answer that came as one JSON object."""
        raise NotImplementedError

    def _stop(self, out: list[Event]) -> None:
        """The stream is over, without an event that says so."""
        raise NotImplementedError

    def _done(self, out: list[Event]) -> None:
        """``[DONE]`` has come."""

    def _plain_next(self) -> bool:
        """Whether the next event may be taken for plain."""
        return self.started is not None

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        out: list[Event] = []
        if self.ended:
            return out
        if data[-2:] != b"\n\n" or not self._sse.idle or len(data) > MOST:
            self._slowly(data, out)
            return out
        plain = self.PLAIN
        behind = len(plain)
        for piece in data[:-2].split(b"\n\n"):
            # Plain text, most of most answers, in one step.
            if piece[:behind] != plain or (text := self.plain(piece[behind:])) is None:
                self._single(piece, out, looked=piece[:behind] == plain)
            elif text:
                out.append(Text(text))
        return out

    def event(self, raw: bytes, *, looked: bool) -> list[Event]:
        """The same for one event with its end; ``looked``: it is known not to be plain."""
        out: list[Event] = []
        if not self.ended:
            if raw[-2:] == b"\n\n" and self._sse.idle:
                self._single(raw[:-2], out, looked=looked)
            else:
                self._slowly(raw, out)
        return out

    def close(self) -> list[Event]:
        """The events of the stream's end; a Failure if it ended too early."""
        out: list[Event] = []
        if not self.ended:
            for name, payload in self._sse.close():
                self._take(name, payload, out, last=True)
        self.mended |= self._sse.mended
        if not self.ended:
            self.stopped = True
            self._stop(out)
        return out

    def give_up(self, what: str) -> list[Event]:
        """The answer goes no further, for the reason that follows the upstream's name."""
        out: list[Event] = []
        if not self.ended:
            self._spoil(what, out, retry=False)
        return out

    def whole(self, body: bytes) -> list[Event]:
        """The events of an answer that came as one JSON object."""
        out: list[Event] = []
        try:
            data, _ = whole(body)
            if not isinstance(data, dict):
                raise Unreadable(excerpt(body))
            self._answer(data, out)
        except _ODD as e:
            self._spoil(f"sent an answer that cannot be read: {_told(e, body)}", out)
        return out

    def _single(self, piece: bytes, out: list[Event], *, looked: bool) -> None:
        """One event without its end; in the two forms that nearly all have, without its lines."""
        name, payload = b"", piece
        if piece[:7] == b"event: ":
            head, _, payload = piece.partition(b"\n")
            name = head[7:]
        if (
            payload[:6] == b"data: "
            and _LF not in payload
            and _CR not in piece
            and _OPEN not in name
        ):
            self._take(name.strip().decode("utf-8", "replace"), payload[6:], out, looked=looked)
        else:
            self._slowly(piece + b"\n\n", out)

    def _slowly(self, data: bytes, out: list[Event]) -> None:
        for name, payload in self._sse.feed(data):
            self._take(name, payload, out)
        self.mended |= self._sse.mended
        self._sse.mended = False
        if self._sse.too_long and not self.ended:
            self._spoil(f"sent an event of over {MOST >> 20} MB", out, retry=False)

    def _take(
        self,
        name: str | None,
        payload: bytes,
        out: list[Event],
        *,
        last: bool = False,
        looked: bool = False,
    ) -> None:
        """One event; ``last``: its end is missing; ``looked``: it is known not to be plain."""
        if self.ended:
            return
        if name is None:
            self._see(None, payload)
            self._alive(out)
            return
        # However it came: what is plain in one step is plain here too.
        if not looked and name == self.NAME and (text := self.plain(payload)) is not None:
            if text:
                out.append(Text(text))
            self._see(name, payload)
            return
        held = bool(self._seams.held)
        try:
            values, mended = read(payload, None if held else self.light)
            self.mended |= mended
            for value in values:
                if not self.ended:
                    self._value(name, value, None if mended or held else payload, out)
        except _ODD as e:
            if self.ended:
                pass
            elif last and isinstance(e, Unreadable) and is_cut(payload):
                self.cut = True
            elif name == "error":
                failure = event_failure({"error": excerpt(payload)}, self._upstream)
                self._fail(failure, out, own=False)
            else:
                self._spoil(f"sent an event that cannot be read: {_told(e, payload)}", out)
        self._fast = not (self.ended or self._seams.held) and self._plain_next()

    def _value(self, name: str, value: Any, payload: bytes | None, out: list[Event]) -> None:
        """One value of an event; ``payload``: it is just what these bytes say."""
        if value is DONE:
            self._done(out)
            self._see(name, value)
        elif isinstance(value, dict):
            if payload is None:
                self.mended |= self._seams.mend(value)
            self._event(name, value, out)
            self._see(name, payload or value)
        elif isinstance(value, list):
            self.mended = True
            for inner in value:
                self._value(name, inner, None, out)
        elif value in (None, ""):
            self._alive(out)
        else:
            raise Unreadable("")

    def _kind(self, name: str, data: dict[str, Any]) -> str:
        """What an event is: its type says, else its name."""
        kind = data.get("type")
        return kind if isinstance(kind, str) and kind else name

    def _see(self, name: str | None, value: Any) -> None:
        if self.seen is not None and not self.spoilt:
            self.seen.append((name, value))

    def _start(self, wire_id: Any, created: int, out: list[Event]) -> None:
        if self.started is None:
            known = wire_id if isinstance(wire_id, str) and wire_id else self._seed()
            self.started = Started(known, created)
            out.append(self.started)

    def _alive(self, out: list[Event]) -> None:
        self._start(None, 0, out)
        out.append(KeepAlive())

    def _unique(self, wire_id: str, prefix: str, number: int) -> str:
        """An id the client has not seen in this thread: providers repeat ``0`` or ``call_0``."""
        if self._ids is None:
            self._ids = self._taken()
        made = wire_id or f"{prefix}_{self._seed()}_{number}"
        if made in self._ids:
            made = f"{made}_{self._seed()[:8]}_{number}"
        self._ids.add(made)
        return made

    def _finish(self, out: list[Event], *events: Event) -> None:
        """The answer is whole."""
        if self._seams.holds_call:
            self._spoil("sent a call that ends in half a character", out)
        else:
            self.ended = True
            out += events

    def _broke_off(self, out: list[Event]) -> None:
        self._spoil("broke off in mid-answer" if self.started else "sent an empty answer", out)

    def _fail(self, failure: Failure, out: list[Event], *, own: bool = True) -> None:
        """The upstream has told of a failure; ``own``: by its protocol's event for that."""
        self.ended = True
        self.spoilt = not own
        out.append(failure)

    def _spoil(self, what: str, out: list[Event], *, retry: bool = True) -> None:
        """The answer cannot be read any further."""
        self._fail(Failure(f"{self._upstream} {what}", retry=retry), out, own=False)


def _told(error: BaseException, payload: bytes) -> str:
    """What is wrong with ``payload``: our own words, or how it begins."""
    return (str(error) if isinstance(error, Unreadable) else "") or excerpt(payload)
