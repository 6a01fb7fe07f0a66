"""A Responses request as a Turn: the canonical form is its own, so nothing is translated."""

from __future__ import annotations

from ...turn import Turn
from ..fields import check_model, top_level


def read_request(body: bytes) -> Turn:
    """The Turn in ``body``; WireError (400) that names the field when it is none."""
    turn = Turn(body, top_level(body, "input"))
    check_model(turn)
    return turn
