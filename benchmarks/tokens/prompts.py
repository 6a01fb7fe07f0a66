"""A prompt as it reached the model, in any of the three protocols: to be billed, and to be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.tokens.biller import Block


@dataclass
class Seen:
    """What the model sees. ``outputs`` and ``calls`` are in order; a call's fields are texts by
    name, and under ``""`` the whole of it. ``blocks`` are for the bill."""

    blocks: list[Block] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    calls: list[dict[str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    tools: dict[str, dict[str, Any]] = field(default_factory=dict)

    def block(self, role: str, value: Any) -> None:
        """One more part for the bill."""
        mark = value.pop("cache_control", None) if isinstance(value, dict) else None
        life = (mark or {}).get("ttl", "5m") if mark else None
        said = json.dumps(value) if role == "tools" else "\n".join(_texts(value))
        self.blocks.append(Block(f"{role}:{json.dumps(value)}".encode(), said.encode(), life))

    def called(self, given: str) -> None:
        """One more call."""
        try:
            value = json.loads(given)
        except ValueError:
            value = None
        named = value if isinstance(value, dict) else {}
        self.calls.append({"": given, **{k: v for k, v in named.items() if isinstance(v, str)}})


#: Fields that a model does not read.
_WIRE = frozenset({"id", "call_id", "tool_call_id", "tool_use_id", "type", "status", "signature"})


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry)
    elif isinstance(value, dict):
        for key, entry in value.items():
            if key not in _WIRE:
                yield from _texts(entry)


def text_of(content: Any) -> str:
    """All text of a content, whatever its form."""
    if isinstance(content, list):
        parts = [p for p in content if isinstance(p, dict)]
        return "\n".join(p["text"] for p in parts if isinstance(p.get("text"), str))
    return content if isinstance(content, str) else ""


def read(path: str, body: dict[str, Any]) -> Seen:
    """The prompt of a request to ``path``."""
    seen = Seen()
    for tool in body.get("tools") or ():
        inner = tool.get("function") or tool
        seen.tools[str(inner.get("name"))] = tool
        seen.block("tools", tool)
    if path.endswith("/messages"):
        _messages(body, seen)
    elif path.endswith("/responses"):
        _responses(body, seen)
    else:
        _chat(body, seen)
    return seen


def _messages(body: dict[str, Any], seen: Seen) -> None:
    system = body.get("system") or []
    for block in [{"type": "text", "text": system}] if isinstance(system, str) else system:
        seen.messages.append(text_of(block.get("text")))
        seen.block("system", block)
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for block in blocks:
            kind = block.get("type")
            if kind == "tool_result":
                seen.outputs.append(text_of(block.get("content")))
            elif kind == "tool_use":
                seen.called(json.dumps(block.get("input")))
            elif kind == "text":
                seen.messages.append(block["text"])
            seen.block(message["role"], block)


def _responses(body: dict[str, Any], seen: Seen) -> None:
    if body.get("instructions"):
        seen.block("system", body["instructions"])
    for item in body["input"]:
        kind = item.get("type", "message")
        if kind in ("function_call_output", "custom_tool_call_output"):
            seen.outputs.append(text_of(item.get("output")))
        elif kind in ("function_call", "custom_tool_call"):
            seen.called(item.get("arguments") or item.get("input") or "")
        elif kind == "message":
            seen.messages.append(text_of(item.get("content")))
        seen.block("item", item)


def _chat(body: dict[str, Any], seen: Seen) -> None:
    for message in body["messages"]:
        if message["role"] == "tool":
            seen.outputs.append(text_of(message.get("content")))
        elif text := text_of(message.get("content")):
            seen.messages.append(text)
        for call in message.get("tool_calls") or ():
            inner = call.get("function") or call.get("custom") or {}
            seen.called(inner.get("arguments") or inner.get("input") or "")
        seen.block("message", message)
