"""Token counts of Chat Completions, from the places where providers put them."""

from __future__ import annotations

from typing import Any

import msgspec

from ...turn import Usage


def read_usage(usage: dict[str, Any]) -> Usage:
    """Token counts as integers, from the places where providers put them."""
    prompt = usage.get("prompt_tokens_details") or {}
    completion = usage.get("completion_tokens_details") or {}
    cached = (
        _int(prompt.get("cached_tokens"))
        or _int(usage.get("prompt_cache_hit_tokens"))
        or (_int(usage.get("cached_tokens")))
    )
    return Usage(
        input=_int(usage.get("prompt_tokens")),
        cached=cached,
        cache_write=_int(prompt.get("cache_write_tokens")),
        output=_int(usage.get("completion_tokens")),
        reasoning=_int(completion.get("reasoning_tokens")),
    )


def _int(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0


def tail_usage(head: bytes, tail: bytes) -> tuple[Usage | None, int]:
    """Tokens and tool calls of an answer that passed through, off its last bytes."""
    start = tail.rfind(b"data: {", 0, tail.rfind(b'"usage":{') + 1)
    text = tail[start + 6 :].split(b"\n", 1)[0] if start >= 0 else tail
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, 0
    if not isinstance(data, dict):
        return None, 0
    usage = data.get("usage")
    calls = 0
    for choice in data.get("choices") or ():
        message = choice.get("message") if isinstance(choice, dict) else None
        calls += len((message or {}).get("tool_calls") or ())
    return (read_usage(usage) if isinstance(usage, dict) and usage else None), calls
