"""Token counts of Chat Completions, from the places where providers put them."""

from __future__ import annotations

from typing import Any

from ...turn import Usage
from ..lenient import count, mapping


def read_usage(usage: dict[str, Any]) -> Usage:
    """Token counts as integers, from the places where providers put them."""
    prompt = mapping(usage.get("prompt_tokens_details"))
    completion = mapping(usage.get("completion_tokens_details"))
    cached = (
        count(prompt.get("cached_tokens"))
        or count(usage.get("prompt_cache_hit_tokens"))
        or count(usage.get("cached_tokens"))
    )
    return Usage(
        input=count(usage.get("prompt_tokens")),
        cached=cached,
        cache_write=count(prompt.get("cache_write_tokens")),
        output=count(usage.get("completion_tokens")),
        reasoning=count(completion.get("reasoning_tokens")),
    )
