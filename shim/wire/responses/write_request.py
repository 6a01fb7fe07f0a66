"""A Turn of a client of another protocol as a request for a Responses upstream."""

from __future__ import annotations

from ...tools.bridge import Bridge
from ...turn import Turn
from ..protocols import Target


def write_request(turn: Turn, bridge: Bridge, target: Target, notes: list[str]) -> bytes:
    """The body for ``POST …/responses``; ``notes`` names what was left out."""
    raise NotImplementedError
