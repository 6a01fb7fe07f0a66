"""The texts of a whole conversation, decoded at once: for a first look whether any rule may hold.

Most rules hold nowhere. A conversation that is new here is long when it was resumed, and taking it
apart element by element would cost as much as translating it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ..json_text import has_duplicate_keys
from ..turn import Turn
from .elements import FIELDS
from .pieces import Piece, pieces_of

_decode = msgspec.json.decode
#: Bytes that are read at once.
_CHUNK = 48 * 1024


def glance(turn: Turn, tools: dict[str, str]) -> list[list[Piece]] | None:
    """All strings in the conversation of ``turn``, per element; the names of the tools called go
    into ``tools``. None where only a closer look can tell."""
    raw = turn.own.get(FIELDS[turn.protocol][1], msgspec.Raw())
    return _strings(turn.protocol, bytes(raw), tools, exact=True)


def strings_of(
    protocol: str, elements: Sequence[msgspec.Raw], tools: dict[str, str], *, exact: bool
) -> list[list[Piece] | None]:
    """All strings of some elements, per element; None for one that only a closer look can tell. The
    names of the tools called go into ``tools``. ``exact``: not where a key is there twice."""
    strings: list[list[Piece] | None] = []
    for chunk in _chunks(elements):
        called = dict(tools)
        at_once = _strings(protocol, b"[%b]" % b",".join(chunk), called, exact=exact)
        if at_once is not None:
            tools.update(called)
            strings += at_once
            continue
        for element in chunk:
            alone = _strings(protocol, b"[%b]" % element, tools, exact=exact)
            strings.append(None if alone is None else alone[0])
    return strings


def _chunks(elements: Sequence[msgspec.Raw]) -> Iterator[Sequence[msgspec.Raw]]:
    """Some elements after the other: of all at once the system would have to give memory for each
    copy anew."""
    first = size = 0
    for n, element in enumerate(elements):
        size += memoryview(element).nbytes
        if size > _CHUNK:
            yield elements[first : n + 1]
            first, size = n + 1, 0
    if first < len(elements):
        yield elements[first:]


def _strings(
    protocol: str, data: bytes, tools: dict[str, str], *, exact: bool
) -> list[list[Piece]] | None:
    try:
        elements = _decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(elements, list) or (exact and has_duplicate_keys(data, elements)):
        return None
    if not all(isinstance(element, dict) for element in elements):
        return None
    read = pieces_of(protocol)
    return [read(element, tools) for element in elements]
