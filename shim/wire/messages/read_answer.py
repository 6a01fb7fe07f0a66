"""A Messages answer of an upstream to canonical events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...turn import Event, Usage


class Decoder:
    """Bytes of a Messages stream in, canonical events out."""

    def __init__(
        self, seed: Callable[[], str], upstream: str, taken: Callable[[], set[str]]
    ) -> None:
        raise NotImplementedError

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        raise NotImplementedError

    def close(self) -> list[Event]:
        """The events of the stream's end."""
        raise NotImplementedError

    def whole(self, body: bytes) -> list[Event]:
        """The events of an answer that came as one JSON object."""
        raise NotImplementedError


def is_answer(data: Any) -> bool:
    """Whether decoded JSON is a whole answer."""
    raise NotImplementedError


def tail_usage(head: bytes, tail: bytes) -> tuple[Usage | None, int]:
    """Tokens and tool calls of an answer that passed through."""
    raise NotImplementedError
