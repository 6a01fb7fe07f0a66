"""The offline demo model: a script that speaks Chat Completions and can drive a real Codex session.

Asked for as a dialect (`demo:hermes`, `demo:hermes/thinking`) it writes its calls as text.
`respond(request)` is a pure function of the request: what to say comes from `demo_talk` and
`demo_plan`; here it is put into OpenAI's form, as one JSON object or as streamed chunks.
Source of the form: OpenAI's API reference, chat/object and chat/streaming.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from . import demo_classifier
from .demo_dialect import in_dialect
from .demo_history import BadRequest, read
from .demo_plan import Reply
from .demo_talk import answer, fill

__all__ = ["NAME", "BadRequest", "Completion", "respond"]

NAME = "demo"
_PIECE = 12
_CHARS_PER_TOKEN = 4
_CACHE_STEP = 128


@dataclass(frozen=True)
class Completion:
    """One answer, ready to be sent. ``seed`` makes its ids; the same request, the same ids."""

    reply: Reply
    model: str
    seed: str
    usage: Mapping[str, Any]

    @property
    def finish_reason(self) -> str:
        return "tool_calls" if self.reply.calls else "stop"

    def json(self) -> dict[str, Any]:
        """The `chat.completion` object."""
        message: dict[str, Any] = {"role": "assistant", "content": self.reply.text or None}
        if self.reply.reasoning:
            message["reasoning_content"] = self.reply.reasoning
        if self.reply.calls:
            message["tool_calls"] = self._calls()
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": self.finish_reason,
        }
        return self._envelope("chat.completion") | {"choices": [choice], "usage": self.usage}

    def chunks(self) -> Iterator[bytes]:
        """The answer as server-sent events, a few characters each, usage and `[DONE]` last."""
        yield self._chunk({"role": "assistant", "content": ""})
        for piece in _pieces(self.reply.reasoning):
            yield self._chunk({"reasoning_content": piece})
        for piece in _pieces(self.reply.text):
            yield self._chunk({"content": piece})
        for index, call in enumerate(self._calls()):
            arguments = call["function"]["arguments"]
            opening = call | {"function": call["function"] | {"arguments": ""}}
            yield self._chunk({"tool_calls": [{"index": index} | opening]})
            for piece in _pieces(arguments):
                delta = {"index": index, "function": {"arguments": piece}}
                yield self._chunk({"tool_calls": [delta]})
        yield self._chunk({}, self.finish_reason)
        yield self._event({"choices": [], "usage": self.usage})
        yield b"data: [DONE]\n\n"

    def _calls(self) -> list[dict[str, Any]]:
        return [
            {
                "id": f"call_{self.seed[:16]}_{number}",
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": json.dumps(call.arguments, ensure_ascii=False),
                },
            }
            for number, call in enumerate(self.reply.calls)
        ]

    def _envelope(self, kind: str) -> dict[str, Any]:
        # No clock: `created` is part of the form, and 0 is as good as any.
        return {"id": f"chatcmpl-{self.seed}", "object": kind, "created": 0, "model": self.model}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return self._event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def _event(self, fields: dict[str, Any]) -> bytes:
        body = self._envelope("chat.completion.chunk") | fields
        return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def respond(request: Any) -> Completion:
    """The answer to a Chat Completions request (decoded JSON). Raises BadRequest."""
    if isinstance(request, dict) and request.get("model") == demo_classifier.NAME:
        asked = (request.get("messages") or [{}])[-1]
        reply = Reply(text=demo_classifier.score(str(asked.get("content"))))
    else:
        reply = answer(read(request))
    if reply.calls:
        reply = in_dialect(reply, str(request.get("model")))
    else:
        reply = _shaped(reply, request.get("response_format"))
    digest = hashlib.blake2b(json.dumps(request, sort_keys=True).encode(), digest_size=12)
    return Completion(
        reply, str(request.get("model") or NAME), digest.hexdigest(), _usage(request, reply)
    )


def _shaped(reply: Reply, form: Any) -> Reply:
    """The final text in the JSON form the request asks for."""
    if not isinstance(form, Mapping) or form.get("type") not in ("json_schema", "json_object"):
        return reply
    schema = (form.get("json_schema") or {}).get("schema") or {"properties": {"answer": {}}}
    return replace(reply, text=json.dumps(fill(schema, reply.text), ensure_ascii=False))


def _usage(request: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
    """Counts at four characters a token; cached is what the request before this one had sent."""
    messages = request["messages"]
    assistant = [n for n, m in enumerate(messages) if m["role"] == "assistant"]
    tools = _size(request.get("tools") or [])
    prompt = tools + sum(map(_size, messages))
    seen = tools + sum(map(_size, messages[: assistant[-1]])) if assistant else 0
    cached = min(seen, prompt) // _CACHE_STEP * _CACHE_STEP
    thought = _tokens(reply.reasoning)
    said = thought + _tokens(reply.text)
    said += sum(_tokens(json.dumps(c.arguments)) + _tokens(c.name) for c in reply.calls)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": said,
        "total_tokens": prompt + said,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def _size(value: Any) -> int:
    return _tokens(json.dumps(value, ensure_ascii=False))


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARS_PER_TOKEN)


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]
