"""Token counts of Anthropic's Messages. Source: Anthropic's API reference (messages, usage)."""

from __future__ import annotations

from typing import Any

from ...turn import Usage
from ..lenient import count, mapping


def read_usage(usage: dict[str, Any]) -> Usage:
    """The API counts what it read from its cache, and what it wrote there, beside the input."""
    cached = count(usage.get("cache_read_input_tokens"))
    written = count(usage.get("cache_creation_input_tokens"))
    return Usage(
        input=count(usage.get("input_tokens")) + cached + written,
        cached=cached,
        cache_write=written,
        output=count(usage.get("output_tokens")),
        reasoning=count(mapping(usage.get("output_tokens_details")).get("thinking_tokens")),
        cache_write_long=count(
            mapping(usage.get("cache_creation")).get("ephemeral_1h_input_tokens")
        ),
    )
