"""Canonical events to a Messages answer for a client."""

from __future__ import annotations

from typing import Any

from ...tools.bridge import Bridge
from ...turn import Event, Failure, Turn, Usage


class Encoder:
    """Canonical events in, bytes of a Messages stream out."""

    def __init__(
        self, *, turn: Turn, model: str, provider: str, bridge: Bridge, codex: bool
    ) -> None:
        self.usage: Usage | None = None
        self.failure: Failure | None = None
        self.response: dict[str, Any] | None = None
        raise NotImplementedError

    @property
    def calls(self) -> int:
        """How many tool calls the answer holds so far."""
        raise NotImplementedError

    def encode(self, events: list[Event]) -> bytes:
        """The bytes for ``events``."""
        raise NotImplementedError
