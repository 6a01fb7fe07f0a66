"""Another reasoning effort than the client's own, in the client's own words."""

from __future__ import annotations

from typing import Any

from ..json_text import members
from ..turn import Turn
from .elements import with_own


def with_effort(turn: Turn, effort: str) -> Turn:
    """``turn`` asking for ``effort``. Messages have a setting for the usual efforts only; ``none``
    switches thinking off there."""
    fields: dict[str, Any]
    if turn.protocol == "chat":
        fields = {"reasoning_effort": effort}
    elif turn.protocol == "messages":
        output = _object(turn, "output_config")
        fields = {"output_config": {**output, "effort": effort}, "thinking": None}
        if effort == "none":
            output.pop("effort", None)
            fields = {"output_config": output or None, "thinking": {"type": "disabled"}}
    else:
        fields = {"reasoning": {**_object(turn, "reasoning"), "effort": effort}}
    return with_own(turn, turn.own, **fields)


def _object(turn: Turn, name: str) -> dict[str, Any]:
    raw = turn.own.get(name)
    if raw is None or bytes(memoryview(raw)[:1]) != b"{":
        return {}
    return dict(members(raw, name))
