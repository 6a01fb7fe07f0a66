"""Canonical events to a Chat Completions answer for a client. Source: OpenAI's API reference
(chat/streaming).

Strategy: every event is a chunk of its own; what was said is kept, so the same encoder also gives
the whole completion of a request that did not ask for a stream.
"""

from __future__ import annotations

import re
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
from ..reasoning import pack
from .errors import error_chunk

_UNFIT = re.compile(r"[^A-Za-z0-9]+")
_encode = msgspec.json.encode


class _Call:
    """A call under way. A freeform one is sent whole, since its input is no JSON."""

    def __init__(self, index: int, start: CallStart, name: str, freeform: bool) -> None:
        self.index, self.start, self.name, self.freeform = index, start, name, freeform
        self.pieces: list[str] = []


class Encoder:
    """Canonical events in, bytes of a Chat Completions stream out; ``provider`` owns the
    reasoning."""

    def __init__(
        self, *, turn: Turn, model: str, provider: str, bridge: Bridge, codex: bool
    ) -> None:
        self._model = model
        self._provider = provider
        self._bridge = bridge
        options = turn.setting("stream_options")
        self._tells = isinstance(options, dict) and bool(options.get("include_usage"))
        self._id = ""
        self._created = 0
        self._head = b""
        self._said: dict[str, list[str]] = {"content": [], "refusal": [], "reasoning_content": []}
        self._states: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._calls: dict[int, _Call] = {}
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

    def _started(self, event: Started, out: list[bytes]) -> None:
        suffix = _UNFIT.sub("", event.id.removeprefix("chatcmpl-")) or "0"
        self._id, self._created = f"chatcmpl-{suffix}", event.created
        head = _encode({**self._common("chat.completion.chunk"), "choices": []})
        self._head = b"data: " + head.removesuffix(b"]}") + b'{"index":0,"delta":'
        self._delta(out, {"role": "assistant", "content": ""})

    def _common(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}

    def _delta(self, out: list[bytes], delta: dict[str, Any], finish: str | None = None) -> None:
        reason = _encode(finish)
        out.append(
            b'%b%b,"logprobs":null,"finish_reason":%b}]}\n\n' % (self._head, _encode(delta), reason)
        )

    def _say(self, field: str, text: str, out: list[bytes]) -> None:
        self._said[field].append(text)
        self._delta(out, {field: text})

    def _text(self, event: Text, out: list[bytes]) -> None:
        self._said["content"].append(event.text)
        out.append(
            b'%b{"content":%b},"logprobs":null,"finish_reason":null}]}\n\n'
            % (self._head, _encode(event.text))
        )

    def _refusal(self, event: Refusal, out: list[bytes]) -> None:
        self._say("refusal", event.text, out)

    def _reason(self, event: Reasoning, out: list[bytes]) -> None:
        self._say("reasoning_content", event.text, out)

    def _keep_state(self, event: ReasoningState, out: list[bytes]) -> None:
        state = {
            "type": "reasoning.encrypted",
            "data": pack(self._provider, event.data, late=event.late),
            "format": "interpose",
            "id": None,
            "index": len(self._states),
        }
        self._states.append(state)
        self._delta(out, {"reasoning_details": [state]})

    def _annotation(self, event: Annotation, out: list[bytes]) -> None:
        data = dict(event.data)
        kind = str(data.pop("type", "url_citation"))
        inner = data.get(kind)
        annotation = {"type": kind, kind: inner if isinstance(inner, dict) else data}
        # The SDK puts pieces of lists together by their index.
        self._delta(out, {"annotations": [{"index": len(self._annotations), **annotation}]})
        self._annotations.append(annotation)

    def _call_start(self, event: CallStart, out: list[bytes]) -> None:
        tool = self._bridge.offered.get(event.name)
        freeform = bool(tool and tool.kind == "custom")
        call = _Call(len(self._calls), event, tool.name if tool else event.name, freeform)
        self._calls[event.key] = call
        if not freeform:
            function = {"name": call.name, "arguments": ""}
            self._call(out, call, {"id": event.id, "type": "function", "function": function})

    def _call(self, out: list[bytes], call: _Call, fields: dict[str, Any]) -> None:
        self._delta(out, {"tool_calls": [{"index": call.index, **fields}]})

    def _call_delta(self, event: CallDelta, out: list[bytes]) -> None:
        call = self._calls[event.key]
        call.pieces.append(event.arguments)
        if not call.freeform:
            self._call(out, call, {"function": {"arguments": event.arguments}})

    def _call_whole(self, event: CallWhole, out: list[bytes]) -> None:
        call = self._calls[event.key]
        said = "".join(call.pieces)
        if not call.freeform and event.arguments.startswith(said):
            self._call_delta(CallDelta(event.key, event.arguments[len(said) :]), out)
        call.pieces[:] = [event.arguments]

    def _whole_call(self, call: _Call) -> dict[str, Any]:
        arguments = "".join(call.pieces)
        if call.freeform:
            item = self._bridge.call_item(call.start.name, call.start.id, arguments)
            custom = {"name": call.name, "input": item.get("input", arguments)}
            return {"id": call.start.id, "type": "custom", "custom": custom}
        function = {"name": call.name, "arguments": arguments or "{}"}
        return {"id": call.start.id, "type": "function", "function": function}

    def _use(self, event: Usage, out: list[bytes]) -> None:
        self.usage = event

    def _finish(self, event: Finish, out: list[bytes]) -> None:
        calls = [self._whole_call(call) for call in self._calls.values()]
        for call, made in zip(self._calls.values(), calls, strict=True):
            if call.freeform:
                self._call(out, call, made)
            elif not call.pieces:
                self._call(out, call, {"function": {"arguments": "{}"}})
        self._delta(out, {}, event.reason)
        usage = self._usage()
        if self._tells:
            chunk = {**self._common("chat.completion.chunk"), "choices": [], "usage": usage}
            out.append(b"data: %b\n\n" % _encode(chunk))
        out.append(b"data: [DONE]\n\n")
        message: dict[str, Any] = {"role": "assistant"}
        for field, pieces in self._said.items():
            if pieces or field != "reasoning_content":
                message[field] = "".join(pieces) if pieces else None
        if self._states:
            message["reasoning_details"] = self._states
        if self._annotations:
            message["annotations"] = self._annotations
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": event.reason}
        whole = self._common("chat.completion")
        self.response = {**whole, "choices": [choice], "usage": usage}

    def _usage(self) -> dict[str, Any]:
        used = self.usage or Usage()
        return {
            "prompt_tokens": used.input,
            "completion_tokens": used.output,
            "total_tokens": used.input + used.output,
            "prompt_tokens_details": {
                "cached_tokens": used.cached,
                "cache_write_tokens": used.cache_write,
            },
            "completion_tokens_details": {"reasoning_tokens": used.reasoning},
        }

    def _keep_alive(self, event: KeepAlive, out: list[bytes]) -> None:
        out.append(b": keep-alive\n\n")

    def _fail(self, event: Failure, out: list[bytes]) -> None:
        self.failure = event
        self.response = error_chunk(event)
        out.append(b"data: %b\n\n" % _encode(self.response))


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
