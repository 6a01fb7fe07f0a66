"""A foreign model's reasoning inside a Responses item, so that it survives the client's history.

Codex sends ``encrypted_content`` back byte for byte (codex-wire.md section 3): the one safe place
for what a provider wants to see again. It is only wrapped, not encrypted: it is the user's data.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

#: How everything that was packed begins.
MARK = "interpose.1."
_QUOTED = f'"{MARK}'.encode()


def pack(provider: str, fields: dict[str, Any], *, late: bool = False) -> str:
    """``fields`` of ``provider``'s own assistant message, as text for ``encrypted_content``.

    ``late`` fields belong to the message that stands before the item, not behind it.
    """
    raw = msgspec.json.encode({"provider": provider, "fields": fields, "late": late})
    return MARK + base64.b64encode(raw).decode()


def unpack(raw: msgspec.Raw, provider: str) -> tuple[dict[str, Any], bool]:
    """(fields, late) that ``provider`` itself wrote; no fields for anybody else's reasoning.

    ``raw`` is an item's undecoded ``encrypted_content``.
    """
    if bytes(memoryview(raw)[: len(_QUOTED)]) != _QUOTED:
        return {}, False
    try:
        packed = base64.b64decode(memoryview(raw)[len(_QUOTED) : -1], validate=True)
        state = msgspec.json.decode(packed)
    except (ValueError, RecursionError):
        return {}, False
    if not isinstance(state, dict) or state.get("provider") != provider:
        return {}, False
    fields = state.get("fields")
    return fields if isinstance(fields, dict) else {}, bool(state.get("late"))
