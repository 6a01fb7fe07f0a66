"""A Turn as a Messages request for an upstream."""

from __future__ import annotations

from ...tools.bridge import Bridge
from ...turn import Turn
from ..protocols import Target


def write_request(turn: Turn, bridge: Bridge, target: Target, notes: list[str]) -> bytes:
    """The body for the upstream; ``notes`` names what was left out."""
    raise NotImplementedError
