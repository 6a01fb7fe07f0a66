"""The texts of a whole conversation, decoded at once: for a first look whether any rule may hold.

Most rules hold nowhere. A conversation that is new here is long when it was resumed, and taking it
apart element by element would cost as much as translating it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..json_text import has_duplicate_keys
from ..turn import Turn
from .elements import FIELDS
from .pieces import Piece, pieces_of

_decode = msgspec.json.decode


def glance(turn: Turn, tools: dict[str, str]) -> list[list[Piece]] | None:
    """All strings in the conversation of ``turn``, per element; the names of the tools called go
    into ``tools``. None where only a closer look can tell."""
    raw = turn.own.get(FIELDS[turn.protocol][1], msgspec.Raw())
    return _strings(turn.protocol, bytes(raw), tools)


def strings_of(
    protocol: str, elements: Sequence[msgspec.Raw], tools: dict[str, str]
) -> list[list[Piece] | None]:
    """All strings of some elements, per element; None for one that only a closer look can tell. The
    names of the tools called go into ``tools``."""
    called = dict(tools)
    at_once = _strings(protocol, b"[%b]" % b",".join(elements), called)
    if at_once is not None:
        tools.update(called)
        return [*at_once]
    each = [_strings(protocol, b"[%b]" % element, tools) for element in elements]
    return [None if strings is None else strings[0] for strings in each]


def _strings(protocol: str, data: bytes, tools: dict[str, str]) -> list[list[Piece]] | None:
    try:
        elements = _decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(elements, list) or has_duplicate_keys(data, elements):
        return None
    if not all(isinstance(element, dict) for element in elements):
        return None
    read = pieces_of(protocol)
    return [read(element, tools) for element in elements]
