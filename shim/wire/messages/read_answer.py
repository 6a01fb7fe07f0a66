"""A Messages answer of an upstream to canonical events. Source: Anthropic's API reference
(messages/streaming).

Strategy: blocks come one after the other, each under its index; what a block is decides what its
deltas mean. Each thinking block is a state of its own, so that thinking between texts and calls
stays where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from ...turn import (
    Annotation,
    CallDelta,
    CallStart,
    Event,
    Failure,
    Finish,
    KeepAlive,
    Reasoning,
    ReasoningState,
    Started,
    Text,
)
from ..errors import event_failure
from ..sse import SSEDecoder
from .read_usage import read_usage, tail_usage

__all__ = ["Decoder", "is_answer", "tail_usage"]

_decode = msgspec.json.Decoder().decode
_DELTA = b"event: content_block_delta\ndata: "
_FINISH = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class _TextDelta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["text_delta"]
    text: str


class _PlainDelta(msgspec.Struct, gc=False):
    """An event that says text and nothing else; every other event fails to decode as one."""

    type: Literal["content_block_delta"]
    delta: _TextDelta


_plain = msgspec.json.Decoder(_PlainDelta).decode


class Decoder:
    """Bytes of a Messages stream in, canonical events out.

    ``seed`` stands in for missing ids; ``taken`` gives the call ids the conversation has.
    """

    def __init__(
        self, seed: Callable[[], str], upstream: str, taken: Callable[[], set[str]]
    ) -> None:
        self._sse = SSEDecoder()
        self._seed = seed
        self._upstream = upstream
        self._taken = taken
        self._ids: set[str] | None = None
        self._started = False
        self._ended = False
        self._finish: str | None = None
        self._usage: dict[str, Any] = {}
        self._blocks: dict[Any, dict[str, Any]] = {}
        self._calls = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        out: list[Event] = []
        if data[-2:] == b"\n\n" and self._sse.idle:
            for piece in data[:-2].split(b"\n\n"):
                self._whole(piece, out)
        else:
            self._slowly(data, out)
        return out

    def close(self) -> list[Event]:
        """The events of the stream's end; a Failure if it ended too early."""
        out: list[Event] = []
        for event, payload in self._sse.close():
            self._take(event, payload, out)
        if not self._ended:
            if self._finish is None:
                what = "broke off in mid-answer" if self._started else "sent an empty answer"
                self._fail(Failure(f"{self._upstream} {what}", retry=True), out)
            else:
                self._end(out)
        return out

    def whole(self, body: bytes) -> list[Event]:
        """The events of an answer that came as one JSON object."""
        message = _decode(body)
        out: list[Event] = []
        self._start(message, out)
        for index, block in enumerate(message.get("content") or ()):
            if isinstance(block, dict):
                self._open(index, block, out)
                self._close(index, out)
        self._finish = str(message.get("stop_reason") or "end_turn")
        self._end(out)
        return out

    def _whole(self, piece: bytes, out: list[Event]) -> None:
        """One event without its end; a plain text delta, most of most answers, in one step."""
        if piece.startswith(_DELTA) and self._started and not self._ended and self._sse.idle:
            try:
                text = _plain(piece[len(_DELTA) :]).delta.text
            except msgspec.DecodeError:
                pass
            else:
                if text:
                    out.append(Text(text))
                return
        self._slowly(piece + b"\n\n", out)

    def _slowly(self, data: bytes, out: list[Event]) -> None:
        for event, payload in self._sse.feed(data):
            self._take(event, payload, out)

    def _take(self, event: str | None, payload: bytes, out: list[Event]) -> None:
        if self._ended:
            return
        if event is None:
            self._alive(out)
            return
        try:
            data = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if not isinstance(data, dict):
            return
        kind = data.get("type") or event
        if kind == "error" or data.get("error"):
            self._fail(event_failure(data, self._upstream), out)
        elif handler := _HANDLERS.get(kind):
            handler(self, data, out)

    def _alive(self, out: list[Event]) -> None:
        self._start({}, out)
        out.append(KeepAlive())

    def _start(self, message: dict[str, Any], out: list[Event]) -> None:
        self._note_usage(message.get("usage"))
        if not self._started:
            self._started = True
            wire_id = message.get("id")
            out.append(Started(wire_id if isinstance(wire_id, str) and wire_id else self._seed()))

    def _message_start(self, data: dict[str, Any], out: list[Event]) -> None:
        message = data.get("message")
        self._start(message if isinstance(message, dict) else {}, out)

    def _ping(self, data: dict[str, Any], out: list[Event]) -> None:
        self._alive(out)

    def _block_start(self, data: dict[str, Any], out: list[Event]) -> None:
        block = data.get("content_block")
        self._start({}, out)
        if isinstance(block, dict):
            self._open(data.get("index"), block, out)

    def _open(self, index: Any, block: dict[str, Any], out: list[Event]) -> None:
        self._blocks[index] = block = dict(block)
        kind = block.get("type")
        if kind == "text" and block.get("text"):
            out.append(Text(str(block["text"])))
        if kind == "text":
            for citation in block.get("citations") or ():
                _cite(citation, out)
        elif kind == "thinking" and block.get("thinking"):
            out.append(Reasoning(str(block["thinking"])))
        elif kind == "tool_use":
            block["key"] = self._calls
            self._calls += 1
            out.append(
                CallStart(block["key"], self._unique(block.get("id")), str(block.get("name")))
            )
            if given := block.get("input"):
                out.append(CallDelta(block["key"], msgspec.json.encode(given).decode()))

    def _block_delta(self, data: dict[str, Any], out: list[Event]) -> None:
        delta, block = data.get("delta"), self._blocks.get(data.get("index"))
        if not isinstance(delta, dict) or block is None:
            return
        kind = delta.get("type")
        if kind == "text_delta" and delta.get("text"):
            out.append(Text(str(delta["text"])))
        elif kind == "thinking_delta":
            block["thinking"] = block.get("thinking", "") + str(delta.get("thinking") or "")
            if delta.get("thinking"):
                out.append(Reasoning(str(delta["thinking"])))
        elif kind == "signature_delta":
            block["signature"] = block.get("signature", "") + str(delta.get("signature") or "")
        elif kind == "input_json_delta" and "key" in block and delta.get("partial_json"):
            out.append(CallDelta(block["key"], str(delta["partial_json"])))
        elif kind == "citations_delta":
            _cite(delta.get("citation"), out)

    def _block_stop(self, data: dict[str, Any], out: list[Event]) -> None:
        self._close(data.get("index"), out)

    def _close(self, index: Any, out: list[Event]) -> None:
        block = self._blocks.get(index)
        if block and block.get("type") in ("thinking", "redacted_thinking"):
            out.append(ReasoningState({"blocks": [block]}))

    def _message_delta(self, data: dict[str, Any], out: list[Event]) -> None:
        self._start({}, out)
        self._note_usage(data.get("usage"))
        delta = data.get("delta")
        reason = delta.get("stop_reason") if isinstance(delta, dict) else None
        if isinstance(reason, str):
            self._finish = reason

    def _message_stop(self, data: dict[str, Any], out: list[Event]) -> None:
        self._start({}, out)
        self._finish = self._finish or "end_turn"
        self._end(out)

    def _note_usage(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self._usage |= {k: v for k, v in usage.items() if v is not None}

    def _unique(self, wire_id: Any) -> str:
        """An id the client has not seen in this thread."""
        if self._ids is None:
            self._ids = self._taken()
        made = str(wire_id or f"toolu_{self._seed()}_{self._calls}")
        if made in self._ids:
            made = f"{made}_{self._seed()[:8]}_{self._calls}"
        self._ids.add(made)
        return made

    def _end(self, out: list[Event]) -> None:
        self._ended = True
        if self._usage:
            out.append(read_usage(self._usage))
        reason = _FINISH.get(self._finish or "", "stop")
        out.append(Finish("tool_calls" if reason == "stop" and self._calls else reason))

    def _fail(self, failure: Failure, out: list[Event]) -> None:
        self._ended = True
        out.append(failure)


def _cite(citation: Any, out: list[Event]) -> None:
    if isinstance(citation, dict) and citation.get("url"):
        where = {"url": citation["url"], "title": citation.get("title") or ""}
        out.append(Annotation({"type": "url_citation", "start_index": 0, "end_index": 0, **where}))


_HANDLERS: dict[str, Any] = {
    "message_start": Decoder._message_start,
    "content_block_start": Decoder._block_start,
    "content_block_delta": Decoder._block_delta,
    "content_block_stop": Decoder._block_stop,
    "message_delta": Decoder._message_delta,
    "message_stop": Decoder._message_stop,
    "ping": Decoder._ping,
}


def is_answer(data: Any) -> bool:
    """Whether decoded JSON is a whole message."""
    return isinstance(data, dict) and data.get("type") == "message" and "content" in data
