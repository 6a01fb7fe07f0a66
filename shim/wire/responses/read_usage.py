"""Token counts of the Responses API. Source: OpenAI's API reference (responses, usage)."""

from __future__ import annotations

from typing import Any

from ...turn import Usage
from ..chat.read_usage import read_usage as read_chat_usage


def read_usage(usage: dict[str, Any]) -> Usage:
    """Chat's counts under other names."""
    return read_chat_usage(
        {
            "prompt_tokens": usage.get("input_tokens"),
            "completion_tokens": usage.get("output_tokens"),
            "prompt_tokens_details": usage.get("input_tokens_details"),
            "completion_tokens_details": usage.get("output_tokens_details"),
        }
    )
