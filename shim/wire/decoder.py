"""What the decoders of all protocols have in common: events out of bytes, and what to do where they
cannot be read.

Strategy: a protocol says what an event means (``_event``), how an answer stops (``_stop``), and
which events are nothing but a piece of text (``plain_text``). Here each event is read as strict
JSON, else leniently; one that cannot be read ends the answer with a Failure, since the next ones
may go on with what it held. Neither feed nor close nor whole raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from ..turn import Event, Failure, KeepAlive, Started, Text, Usage
from .characters import CharacterJoiner, whole
from .errors import event_failure
from .lenient import DONE, Unreadable, excerpt, is_truncated, read
from .sse import MOST, SSEDecoder

#: What an event of an unforeseen shape may raise.
_SHAPE_ERRORS = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
#: A search for a byte by its number is the fastest.
_LF, _CR, _OPEN = b"\n\r{"
#: One event as it was read: its name, or None for a comment; its value, or that value's own bytes.
LoggedEvent = tuple[str | None, Any]


class StreamDecoder:
    """Bytes of an upstream's answer in, canonical events out.

    ``seed`` stands in for missing ids; ``taken`` gives the call ids the conversation has. Both
    cost a walk over the request, so they are asked for only when needed.

    ``started`` is how the answer began. ``ended``: nothing more is read. ``unreported``: the answer
    failed, and no error event of its protocol says so. ``mended``: an event was read otherwise than
    its bytes say. ``truncated``: the last event is not whole. ``unterminated``: the stream ended
    without the event that ends an answer. ``log``, where it is a list, gets each event read.
    """

    #: Decodes of a long event only the fields that are read; ValueError where it does not apply.
    decode_long: Callable[[bytes], Any] | None = None
    #: An event of plain text: its name, what stands before its JSON on the wire, and the field of
    #: its text; "" where events of plain text differ in more than that.
    TEXT_EVENT: ClassVar[str] = ""
    TEXT_PREFIX: ClassVar[bytes] = b"data: "
    TEXT_FIELD: ClassVar[bytes] = b""
    #: What ends a whole answer on the wire, where the protocol has words for it alone.
    TERMINATOR: ClassVar[bytes] = b""
    #: The upstream's own account of the whole answer, where the protocol has one.
    response: dict[str, Any] | None = None

    def __init__(
        self, seed: Callable[[], str], upstream: str, taken: Callable[[], set[str]]
    ) -> None:
        self._sse = SSEDecoder()
        self._joiner = CharacterJoiner()
        self._seed = seed
        self._upstream = upstream
        self._taken = taken
        self._ids: set[str] | None = None
        #: Whether the next event may be plain text; else its context has to be read too.
        self._expects_text = False
        self.started: Started | None = None
        self.ended = self.unreported = self.mended = self.truncated = self.unterminated = False
        self.log: list[LoggedEvent] | None = None

    @property
    def usage(self) -> Usage | None:
        """Tokens, as far as the answer has told of them."""
        return None

    @property
    def calls(self) -> int:
        """How many tool calls the answer holds so far."""
        return 0

    def plain_text(self, data: bytes) -> str | None:
        """The text of the event with the JSON ``data``; None where it holds anything else."""
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

    def _may_expect_text(self) -> bool:
        """Whether an event of plain text now means nothing but its text."""
        return self.started is not None

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        out: list[Event] = []
        if self.ended:
            return out
        if data[-2:] != b"\n\n" or not self._sse.idle or len(data) > MOST:
            self._read_lines(data, out)
            return out
        prefix = self.TEXT_PREFIX
        size = len(prefix)
        for event in data[:-2].split(b"\n\n"):
            # Plain text, most of most answers, in one step.
            if event[:size] != prefix or (text := self.plain_text(event[size:])) is None:
                self._read_event(event, out, not_text=event[:size] == prefix)
            elif text:
                out.append(Text(text))
        return out

    def feed_event(self, raw: bytes, *, not_text: bool) -> list[Event]:
        """The same for one event with its blank line; ``not_text``: it is not plain text."""
        out: list[Event] = []
        if not self.ended:
            if raw[-2:] == b"\n\n" and self._sse.idle:
                self._read_event(raw[:-2], out, not_text=not_text)
            else:
                self._read_lines(raw, out)
        return out

    def close(self) -> list[Event]:
        """The events of the stream's end; a Failure if it ended too early."""
        out: list[Event] = []
        if not self.ended:
            for name, payload in self._sse.close():
                self._read_payload(name, payload, out, at_end=True)
        self.mended |= self._sse.mended
        if not self.ended:
            self.unterminated = True
            self._stop(out)
        return out

    def give_up(self, what: str) -> list[Event]:
        """End the answer; ``what`` the upstream did follows its name in the message."""
        out: list[Event] = []
        if not self.ended:
            self._abort(what, out, retry=False)
        return out

    def whole(self, body: bytes) -> list[Event]:
        """The events of an answer that came as one JSON object."""
        out: list[Event] = []
        try:
            data, _ = whole(body)
            if not isinstance(data, dict):
                raise Unreadable(excerpt(body))
            self._answer(data, out)
        except _SHAPE_ERRORS as e:
            self._abort(f"sent an answer that cannot be read: {_describe(e, body)}", out)
        return out

    def _read_event(self, event: bytes, out: list[Event], *, not_text: bool) -> None:
        """Read one event without its blank line; most have one or two lines."""
        name, line = b"", event
        if event[:7] == b"event: ":
            head, _, line = event.partition(b"\n")
            name = head[7:]
        usual = line[:6] == b"data: " and not (_LF in line or _CR in event or _OPEN in name)
        if usual:
            title = name.strip().decode("utf-8", "replace")
            self._read_payload(title, line[6:], out, not_text=not_text)
        else:
            self._read_lines(event + b"\n\n", out)

    def _read_lines(self, data: bytes, out: list[Event]) -> None:
        for name, payload in self._sse.feed(data):
            self._read_payload(name, payload, out)
        self.mended |= self._sse.mended
        self._sse.mended = False
        if self._sse.too_long and not self.ended:
            self._abort(f"sent an event of over {MOST >> 20} MB", out, retry=False)

    def _read_payload(
        self,
        name: str | None,
        payload: bytes,
        out: list[Event],
        *,
        at_end: bool = False,
        not_text: bool = False,
    ) -> None:
        """Read an event's data; ``at_end``: it has no blank line; ``not_text``: no plain text."""
        if self.ended:
            return
        if name is None:
            self._add_to_log(None, payload)
            self._keep_alive(out)
            return
        # The same check as in feed, so that it does not matter how the bytes were cut.
        may_be_text = name == self.TEXT_EVENT and not not_text
        if may_be_text and (text := self.plain_text(payload)) is not None:
            if text:
                out.append(Text(text))
            self._add_to_log(name, payload)
            return
        held = bool(self._joiner.held)
        try:
            values, mended = read(payload, None if held else self.decode_long)
            self.mended |= mended
            for value in values:
                if not self.ended:
                    self._read_value(name, value, None if mended or held else payload, out)
        except _SHAPE_ERRORS as e:
            if self.ended:
                pass
            elif at_end and isinstance(e, Unreadable) and is_truncated(payload):
                self.truncated = True
            elif name == "error":
                failure = event_failure({"error": excerpt(payload)}, self._upstream)
                self._fail(failure, out, reported=False)
            else:
                self._abort(f"sent an event that cannot be read: {_describe(e, payload)}", out)
        self._expects_text = not (self.ended or self._joiner.held) and self._may_expect_text()

    def _read_value(self, name: str, value: Any, payload: bytes | None, out: list[Event]) -> None:
        """Read one value of an event; ``payload`` are its bytes where it is strict JSON."""
        if value is DONE:
            self._done(out)
            self._add_to_log(name, value)
        elif isinstance(value, dict):
            if self.TEXT_EVENT and name and value.get("type") != name:
                name, value, payload = self._one_kind(name, value, payload)
            if payload is None:
                self.mended |= self._joiner.mend(value)
            self._event(name, value, out)
            self._add_to_log(name, payload or value)
        elif isinstance(value, list):
            self.mended = True
            for inner in value:
                self._read_value(name, inner, None, out)
        elif value in (None, ""):
            # No client's protocol has such an event.
            self.mended = True
            self._keep_alive(out)
        else:
            raise Unreadable("")

    def _one_kind(
        self, name: str, value: dict[str, Any], payload: bytes | None
    ) -> tuple[str, dict[str, Any], bytes | None]:
        """An event whose name and type differ as its type says: some clients go by the one, some by
        the other."""
        self.mended = True
        if (kind := self._kind(name, value)) != name:
            return kind, value, payload
        # Of a long event only some fields have been read.
        value = msgspec.json.decode(payload) if payload else value
        return name, {**value, "type": name}, None

    def _kind(self, name: str, data: dict[str, Any]) -> str:
        """What an event is: its type says, else its name."""
        kind = data.get("type")
        return kind if isinstance(kind, str) and kind else name

    def _add_to_log(self, name: str | None, value: Any) -> None:
        if self.log is not None and not self.unreported:
            self.log.append((name, value))

    def _start(self, wire_id: Any, created: int, out: list[Event]) -> None:
        if self.started is None:
            usable = isinstance(wire_id, str) and wire_id
            self.started = Started(wire_id if usable else self._seed(), created)
            out.append(self.started)

    def _keep_alive(self, out: list[Event]) -> None:
        self._start(None, 0, out)
        out.append(KeepAlive())

    def _unique(self, wire_id: str, prefix: str, number: int) -> str:
        """An id the client has not seen in this thread: providers repeat ``0`` or ``call_0``."""
        if self._ids is None:
            self._ids = self._taken()
        call_id = wire_id or f"{prefix}_{self._seed()}_{number}"
        if call_id in self._ids:
            call_id = f"{call_id}_{self._seed()[:8]}_{number}"
        self._ids.add(call_id)
        return call_id

    def _finish(self, out: list[Event], *events: Event) -> None:
        """The answer is whole."""
        if self._joiner.holds_call:
            self._abort("sent a call that ends in half a character", out)
        else:
            self.ended = True
            out += events

    def _broke_off(self, out: list[Event]) -> None:
        self._abort("broke off in mid-answer" if self.started else "sent an empty answer", out)

    def _fail(self, failure: Failure, out: list[Event], *, reported: bool = True) -> None:
        """End the answer; ``reported``: by an error event of the upstream's protocol."""
        self.ended = True
        self.unreported = not reported
        out.append(failure)

    def _abort(self, what: str, out: list[Event], *, retry: bool = True) -> None:
        """End the answer, since it cannot be read any further."""
        self._fail(Failure(f"{self._upstream} {what}", retry=retry), out, reported=False)


def _describe(error: BaseException, payload: bytes) -> str:
    """What is wrong with ``payload``, or how it begins."""
    return (str(error) if isinstance(error, Unreadable) else "") or excerpt(payload)
