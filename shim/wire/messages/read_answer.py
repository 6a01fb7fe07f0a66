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
    Finish,
    Reasoning,
    ReasoningState,
    Text,
    Usage,
)
from ..decoder import StreamDecoder
from ..errors import event_failure
from ..lenient import Unreadable, mapping, name_of, number, objects, only_objects, text_of
from .read_usage import read_usage

__all__ = ["Decoder", "is_answer"]

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


class Decoder(StreamDecoder):
    """Bytes of a Messages stream in, canonical events out."""

    TEXT_FIELD = b'"text":'
    TEXT_EVENT = "content_block_delta"
    TEXT_PREFIX = b"event: content_block_delta\ndata: "
    TERMINATOR = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

    def __init__(
        self, seed: Callable[[], str], upstream: str, taken: Callable[[], set[str]]
    ) -> None:
        super().__init__(seed, upstream, taken)
        self._reason: str | None = None
        self._usage: dict[str, Any] = {}
        #: By index, the blocks that have begun, and the keys of those that are calls.
        self._blocks: dict[int | None, dict[str, Any]] = {}
        self._keys: dict[int | None, int] = {}
        self._calls = 0

    @property
    def usage(self) -> Usage | None:
        return read_usage(self._usage) if self._usage else None

    @property
    def calls(self) -> int:
        return self._calls

    def plain_text(self, data: bytes) -> str | None:
        if not self._expects_text:
            return None
        try:
            return _plain(data).delta.text
        except (ValueError, RecursionError):
            return None

    def _answer(self, data: dict[str, Any], out: list[Event]) -> None:
        self._begin(data, out)
        content = data.get("content")
        if isinstance(content, str):
            content = {"type": "text", "text": content}
        for index, block in enumerate(only_objects(content)):
            self._open(index, block, out)
            self._close(index, out)
        self._reason = text_of(data.get("stop_reason") or "end_turn")
        self._end(out)

    def _stop(self, out: list[Event]) -> None:
        if self._reason is None:
            self._broke_off(out)
        else:
            self._end(out)

    def _event(self, name: str, data: dict[str, Any], out: list[Event]) -> None:
        kind = self._kind(name, data)
        if kind == "error" or data.get("error"):
            reported = kind == "error" and bool(data.get("error"))
            self._fail(event_failure(data, self._upstream), out, reported=reported)
        elif handler := _HANDLERS.get(kind):
            handler(self, data, out)
        elif "delta" in data:
            # Whatever it calls itself, it goes on with something.
            self._block_delta(data, out)

    def _begin(self, message: dict[str, Any], out: list[Event]) -> None:
        self._note_usage(message.get("usage"))
        self._start(message.get("id"), 0, out)

    def _message_start(self, data: dict[str, Any], out: list[Event]) -> None:
        self._begin(mapping(data.get("message")), out)

    def _ping(self, data: dict[str, Any], out: list[Event]) -> None:
        self._keep_alive(out)

    def _block_start(self, data: dict[str, Any], out: list[Event]) -> None:
        self._start(None, 0, out)
        for block in only_objects(data.get("content_block")):
            self._open(number(data.get("index")), block, out)

    def _open(self, index: int | None, block: dict[str, Any], out: list[Event]) -> None:
        self._blocks[index] = block = dict(block)
        self._keys.pop(index, None)
        kind = block.get("type")
        if kind == "text":
            if text := text_of(block.get("text")):
                out.append(Text(text))
            for citation in objects(block.get("citations")):
                _cite(citation, out)
        elif kind == "thinking":
            if thought := text_of(block.get("thinking")):
                out.append(Reasoning(thought))
        elif kind == "tool_use":
            name = name_of(block.get("name"))
            if not name:
                raise Unreadable("a call without a name")
            self._keys[index] = key = self._calls
            self._calls += 1
            call_id = self._unique(name_of(block.get("id")), "toolu", self._calls)
            out.append(CallStart(key, call_id, name))
            if given := block.get("input"):
                out.append(CallDelta(key, text_of(given)))

    def _block_delta(self, data: dict[str, Any], out: list[Event]) -> None:
        delta = data.get("delta")
        if isinstance(delta, str | int | float):
            delta = {"text": delta}
        self._start(None, 0, out)
        for inner in only_objects(delta):
            self._piece(number(data.get("index")), inner, out)

    def _piece(self, index: int | None, delta: dict[str, Any], out: list[Event]) -> None:
        """A delta is read by its fields, whatever it says of its type."""
        block = self._blocks.get(index, {})
        text, thought = text_of(delta.get("text")), text_of(delta.get("thinking"))
        if text:
            out.append(Text(text))
        if thought:
            block["thinking"] = text_of(block.get("thinking")) + thought
            out.append(Reasoning(thought))
        if signature := text_of(delta.get("signature")):
            block["signature"] = text_of(block.get("signature")) + signature
        if arguments := text_of(delta.get("partial_json")):
            if index in self._keys:
                out.append(CallDelta(self._keys[index], arguments))
            elif block.get("type") in ("text", "thinking", None):
                raise Unreadable("arguments of a call that has not begun")
        _cite(delta.get("citation"), out)

    def _block_stop(self, data: dict[str, Any], out: list[Event]) -> None:
        self._close(number(data.get("index")), out)

    def _close(self, index: int | None, out: list[Event]) -> None:
        block = self._blocks.get(index)
        if block and block.get("type") in ("thinking", "redacted_thinking"):
            out.append(ReasoningState({"blocks": [dict(block)]}))

    def _message_delta(self, data: dict[str, Any], out: list[Event]) -> None:
        self._start(None, 0, out)
        self._note_usage(data.get("usage"))
        if reason := text_of(mapping(data.get("delta")).get("stop_reason") or ""):
            self._reason = reason

    def _message_stop(self, data: dict[str, Any], out: list[Event]) -> None:
        self._start(None, 0, out)
        self._end(out)

    def _note_usage(self, usage: Any) -> None:
        self._usage |= {k: v for k, v in mapping(usage).items() if v is not None}

    def _end(self, out: list[Event]) -> None:
        reason = _FINISH.get(self._reason or "end_turn", "stop")
        if reason == "stop" and self._calls:
            reason = "tool_calls"
        self._finish(out, *([self.usage] if self.usage else []), Finish(reason))


def _cite(citation: Any, out: list[Event]) -> None:
    if url := text_of(mapping(citation).get("url")):
        where = {"url": url, "title": text_of(citation.get("title"))}
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
    if not isinstance(data, dict) or data.get("type") == "error":
        return False
    content = data.get("content")
    return isinstance(content, list) or (data.get("type") == "message" and "content" in data)
