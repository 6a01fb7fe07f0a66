"""The demo model's calls as text, in any dialect of `shim.repair`, to try repair out."""

from __future__ import annotations

from dataclasses import replace

from ..repair.dialects import DIALECTS
from .demo_plan import Reply

_THINKING = "/thinking"
_PATCH = "apply_patch"


def in_dialect(reply: Reply, model: str) -> Reply:
    """``reply`` with its calls written into what it says, where ``model`` is a dialect's name;
    with ``/thinking`` behind it into what it thinks. What a dialect cannot say stays a call."""
    name = model.removesuffix(_THINKING)
    dialect = DIALECTS.get(name)
    if dialect is None:
        return reply
    if name.endswith("patch") and any(call.name != _PATCH for call in reply.calls):
        return reply
    calls = [dialect.write(call.name, dict(call.arguments)) for call in reply.calls]
    if model.endswith(_THINKING):
        return replace(reply, reasoning="\n\n".join([reply.reasoning, *calls]), text="", calls=[])
    said = "\n\n".join([*([reply.text] if reply.text else []), "\n".join(calls)])
    return replace(reply, text=said, calls=[])
