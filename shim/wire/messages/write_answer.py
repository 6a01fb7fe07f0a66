"""Canonical events to a Messages answer for a client. Source: Anthropic's API reference
(messages/streaming).

Strategy: blocks never overlap in this protocol, so one is open at a time. The first call of an
answer streams; what providers send beside it (the arguments of parallel calls) waits until it is
whole. The finished blocks are kept, so the same encoder also gives the whole message.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...tools.bridge import Bridge
from ...turn import (
    Annotation,
    CallDelta,
    CallStart,
    CallWhole,
    Event,
    Failure,
    Finish,
    KeepAlive,
    Reasoning,
    ReasoningState,
    Refusal,
    Started,
    Text,
    Turn,
    Usage,
)
from ..lenient import Unreadable, strict
from ..reasoning import pack
from ..sse import encode as sse
from .errors import failure_error

_encode = msgspec.json.encode
_STOP = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
#: Per kind of block: how it opens, and the delta that fills it.
_DELTAS = {
    "text": ({"type": "text", "text": ""}, "text_delta", "text"),
    "thinking": (
        {"type": "thinking", "thinking": "", "signature": ""},
        "thinking_delta",
        "thinking",
    ),
}


class _Call:
    """A call under way; ``id`` and ``name`` are the client's own."""

    def __init__(self, start: CallStart, name: str) -> None:
        self.id, self.name = start.id, name
        self.pieces: list[str] = []


class Encoder:
    """Canonical events in, bytes of a Messages stream out; ``provider`` owns the reasoning."""

    def __init__(
        self, *, turn: Turn, model: str, provider: str, bridge: Bridge, codex: bool
    ) -> None:
        self._model = model
        self._provider = provider
        self._bridge = bridge
        self._id = ""
        self._length = len(turn.body)
        self._content: list[dict[str, Any]] = []
        self._open = ""
        self._pieces: list[str] = []
        self._head = b""
        self._calls: dict[int, _Call] = {}
        self._streaming: int | None = None
        self._later: list[Event] = []
        self._refused = False
        self.usage: Usage | None = None
        self.failure: Failure | None = None
        self.response: dict[str, Any] | None = None

    @property
    def calls(self) -> int:
        """How many tool calls the answer holds so far."""
        return len(self._calls)

    def encode(self, events: list[Event]) -> bytes:
        """The bytes for ``events``; empty once the answer has ended."""
        out: list[bytes] = []
        for event in events:
            if self.response is None:
                _HANDLERS[type(event)](self, event, out)
        return b"".join(out)

    def _send(self, out: list[bytes], kind: str, **fields: Any) -> None:
        out.append(sse(kind, _encode({"type": kind, **fields})))

    def _message(self, stop: str | None, usage: dict[str, int]) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": usage,
        }

    def _started(self, event: Started, out: list[bytes]) -> None:
        # Claude Code takes answers of one id for one answer, and some servers give all the same id;
        # the body's length differs, since a conversation grows.
        self._id = f"msg_{event.id.removeprefix('msg_')}_{self._length:x}"
        usage = {"input_tokens": 0, "output_tokens": 0}
        self._send(out, "message_start", message=self._message(None, usage))

    def _keep_alive(self, event: KeepAlive, out: list[bytes]) -> None:
        self._send(out, "ping")

    def _say(self, kind: str, text: str, out: list[bytes]) -> None:
        if self._open != kind:
            self._close(out)
            block, delta, field = _DELTAS[kind]
            index = len(self._content)
            self._send(out, "content_block_start", index=index, content_block=block)
            self._open, self._pieces = kind, []
            start = {"type": "content_block_delta", "index": index}
            frame = _encode({**start, "delta": {"type": delta, field: ""}})
            self._head = b"event: content_block_delta\ndata: " + frame.removesuffix(b'""}}')
        self._pieces.append(text)
        out.append(b"%b%b}}\n\n" % (self._head, _encode(text)))

    def _text(self, event: Text, out: list[bytes]) -> None:
        if self._streaming is None:
            self._say("text", event.text, out)
        else:
            self._later.append(event)

    def _refusal(self, event: Refusal, out: list[bytes]) -> None:
        self._refused = True
        self._text(Text(event.text), out)

    def _reason(self, event: Reasoning, out: list[bytes]) -> None:
        if self._streaming is None:
            self._say("thinking", event.text, out)
        else:
            self._later.append(event)

    def _keep_state(self, event: ReasoningState, out: list[bytes]) -> None:
        if self._streaming is not None:
            self._later.append(event)
            return
        state = pack(self._provider, event.data, late=event.late)
        if self._open == "thinking":
            self._close(out, state)
            return
        self._close(out)
        self._block({"type": "redacted_thinking", "data": state}, out)

    def _annotation(self, event: Annotation, out: list[bytes]) -> None:
        """Citations of the Responses API name places in the text that blocks do not have."""

    def _block(self, block: dict[str, Any], out: list[bytes]) -> None:
        index = len(self._content)
        self._send(out, "content_block_start", index=index, content_block=block)
        self._send(out, "content_block_stop", index=index)
        self._content.append(block)

    def _close(self, out: list[bytes], signature: str = "") -> None:
        """End the open text or thinking."""
        kind, self._open = self._open, ""
        if not kind:
            return
        index, text = len(self._content), "".join(self._pieces)
        block: dict[str, Any] = {"type": kind, _DELTAS[kind][2]: text}
        if kind == "thinking":
            block["signature"] = signature
            delta = {"type": "signature_delta", "signature": signature}
            self._send(out, "content_block_delta", index=index, delta=delta)
        self._send(out, "content_block_stop", index=index)
        self._content.append(block)

    def _call_start(self, event: CallStart, out: list[bytes]) -> None:
        self._close(out)
        tool = self._bridge.offered.get(event.name)
        call = self._calls[event.key] = _Call(event, tool.name if tool else event.name)
        if self._streaming is None:
            self._streaming = event.key
            self._open_call(call, out)

    def _open_call(self, call: _Call, out: list[bytes]) -> None:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        self._send(out, "content_block_start", index=len(self._content), content_block=block)

    def _call_delta(self, event: CallDelta, out: list[bytes]) -> None:
        self._calls[event.key].pieces.append(event.arguments)
        if event.key == self._streaming:
            self._argue(event.arguments, out)

    def _call_whole(self, event: CallWhole, out: list[bytes]) -> None:
        call = self._calls[event.key]
        said = "".join(call.pieces)
        if event.key == self._streaming and event.arguments.startswith(said):
            self._argue(event.arguments[len(said) :], out)
        call.pieces[:] = [event.arguments]

    def _argue(self, arguments: str, out: list[bytes]) -> None:
        delta = {"type": "input_json_delta", "partial_json": arguments}
        self._send(out, "content_block_delta", index=len(self._content), delta=delta)

    def _close_call(self, call: _Call, out: list[bytes]) -> None:
        self._send(out, "content_block_stop", index=len(self._content))
        given = _input("".join(call.pieces))
        self._content.append({"type": "tool_use", "id": call.id, "name": call.name, "input": given})

    def _finish_calls(self, out: list[bytes]) -> None:
        streaming, self._streaming = self._streaming, None
        for key, call in self._calls.items():
            if key != streaming:
                self._open_call(call, out)
                if call.pieces:
                    self._argue("".join(call.pieces), out)
            self._close_call(call, out)
        later, self._later = self._later, []
        for event in later:
            _HANDLERS[type(event)](self, event, out)

    def _use(self, event: Usage, out: list[bytes]) -> None:
        self.usage = event

    def _finish(self, event: Finish, out: list[bytes]) -> None:
        self._close(out)
        self._finish_calls(out)
        self._close(out)
        stop = "refusal" if self._refused else _STOP.get(event.reason, "end_turn")
        usage = self._usage()
        delta = {"stop_reason": stop, "stop_sequence": None}
        self._send(out, "message_delta", delta=delta, usage=usage)
        self._send(out, "message_stop")
        self.response = {**self._message(stop, usage), "content": self._content}

    def _usage(self) -> dict[str, int]:
        used = self.usage or Usage()
        return {
            "input_tokens": max(0, used.input - used.cached - used.cache_write),
            "cache_creation_input_tokens": used.cache_write,
            "cache_read_input_tokens": used.cached,
            "output_tokens": used.output,
        }

    def _fail(self, event: Failure, out: list[bytes]) -> None:
        self.failure = event
        self.response = {"type": "error", "error": failure_error(event)}
        self._send(out, "error", error=self.response["error"])


def _input(arguments: str) -> dict[str, Any]:
    """A call's arguments as the object a message has; what is none stays readable."""
    try:
        value = strict(arguments or "{}")
    except Unreadable:
        return {"input": arguments}
    return value if isinstance(value, dict) else {"input": value}


_HANDLERS: dict[type, Any] = {
    Started: Encoder._started,
    Text: Encoder._text,
    Refusal: Encoder._refusal,
    Reasoning: Encoder._reason,
    ReasoningState: Encoder._keep_state,
    Annotation: Encoder._annotation,
    CallStart: Encoder._call_start,
    CallDelta: Encoder._call_delta,
    CallWhole: Encoder._call_whole,
    Usage: Encoder._use,
    Finish: Encoder._finish,
    KeepAlive: Encoder._keep_alive,
    Failure: Encoder._fail,
}
