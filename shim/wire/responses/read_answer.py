"""A Responses answer to canonical events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ...turn import Event, Usage
from ..chat.read_usage import read_usage


class Decoder:
    """Bytes of a Responses stream in, canonical events out."""

    def __init__(
        self, seed: Callable[[], str], upstream: str, taken: Callable[[], set[str]]
    ) -> None:
        raise NotImplementedError

    def feed(self, data: bytes) -> list[Event]:
        raise NotImplementedError

    def close(self) -> list[Event]:
        raise NotImplementedError

    def whole(self, body: bytes) -> list[Event]:
        raise NotImplementedError


def is_answer(data: Any) -> bool:
    """Whether decoded JSON is a response."""
    return isinstance(data, dict) and data.get("object") == "response"


def tail_usage(head: bytes, tail: bytes) -> tuple[Usage | None, int]:
    """Tokens and tool calls of an answer that passed through, off its last bytes."""
    last = _last(tail)
    output = last.get("output")
    found = output if isinstance(output, list) else ()
    calls = sum(str(i.get("type", "")).endswith("_call") for i in found if isinstance(i, dict))
    usage = last.get("usage")
    if not isinstance(usage, dict):
        return None, calls
    renamed = {
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens"),
        "prompt_tokens_details": usage.get("input_tokens_details"),
        "completion_tokens_details": usage.get("output_tokens_details"),
    }
    return read_usage(renamed), calls


def _last(tail: bytes) -> dict[str, Any]:
    start = tail.rfind(b'{"type":"response.completed"')
    text = tail[start:].split(b"\n", 1)[0] if start >= 0 else tail
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    inner = data.get("response", data) if isinstance(data, dict) else {}
    return inner if isinstance(inner, dict) else {}
