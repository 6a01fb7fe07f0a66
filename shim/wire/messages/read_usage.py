"""Token counts of Anthropic's Messages. Source: Anthropic's API reference (messages, usage)."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ...turn import Usage

_EVENT = re.compile(rb'"type": ?"message_(?:start|delta)"')


def read_usage(usage: dict[str, Any]) -> Usage:
    """The API counts what it read from its cache, and what it wrote there, beside the input."""
    cached, written = (
        _int(usage, "cache_read_input_tokens"),
        _int(usage, "cache_creation_input_tokens"),
    )
    details = usage.get("output_tokens_details")
    lives = usage.get("cache_creation")
    return Usage(
        input=_int(usage, "input_tokens") + cached + written,
        cached=cached,
        cache_write=written,
        output=_int(usage, "output_tokens"),
        reasoning=_int(details, "thinking_tokens") if isinstance(details, dict) else 0,
        cache_write_long=(
            _int(lives, "ephemeral_1h_input_tokens") if isinstance(lives, dict) else 0
        ),
    )


def tail_usage(head: bytes, tail: bytes) -> tuple[Usage | None, int]:
    """Tokens and tool calls of an answer that passed through, off its first and last bytes."""
    if not _EVENT.search(head):
        data = _json(head)
        usage = data.get("usage")
        content = data.get("content")
        calls = [b for b in content or () if isinstance(b, dict) and b.get("type") == "tool_use"]
        return (read_usage(usage) if isinstance(usage, dict) else None), len(calls)
    found: dict[str, Any] = {}
    lines = [line for line in (*head.split(b"\n"), *tail.split(b"\n")) if _EVENT.search(line)]
    for line in lines:
        data = _json(line.removeprefix(b"data:"))
        message = data.get("message")
        usage = data.get("usage") or (message.get("usage") if isinstance(message, dict) else None)
        if isinstance(usage, dict):
            found |= {k: v for k, v in usage.items() if v is not None}
    text = tail if head in tail else head + tail
    return (read_usage(found) if found else None), text.count(b'"type":"tool_use"')


def _json(text: bytes) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return data if isinstance(data, dict) else {}


def _int(usage: dict[str, Any], name: str) -> int:
    value = usage.get(name)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0
