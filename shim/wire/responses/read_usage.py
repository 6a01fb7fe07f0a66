"""Token counts of the Responses API. Source: OpenAI's API reference (responses, usage)."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ...turn import Usage
from ..chat.read_usage import read_usage as read_chat_usage

_LAST = re.compile(rb'\{"type": ?"response\.(?:completed|incomplete|failed)"')


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


def tail_usage(head: bytes, tail: bytes) -> tuple[Usage | None, int]:
    """Tokens and tool calls of an answer that passed through, off its last bytes."""
    last = _last(tail)
    output = last.get("output")
    found = output if isinstance(output, list) else ()
    calls = sum(str(i.get("type", "")).endswith("_call") for i in found if isinstance(i, dict))
    usage = last.get("usage")
    return (read_usage(usage) if isinstance(usage, dict) else None), calls


def _last(tail: bytes) -> dict[str, Any]:
    places = [match.start() for match in _LAST.finditer(tail)]
    text = tail[places[-1] :].split(b"\n", 1)[0] if places else tail
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    inner = data.get("response", data) if isinstance(data, dict) else {}
    return inner if isinstance(inner, dict) else {}
