"""The texts of a whole conversation, decoded at once: for a first look whether any rule may hold.

Most rules hold nowhere. A conversation that is new here is long when it was resumed, and taking it
apart element by element would cost as much as translating it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ..json_text import has_duplicate_keys
from ..turn import Turn
from .elements import FIELDS
from .pieces import Piece, pieces_of

_decode = msgspec.json.decode


class _Part(msgspec.Struct, gc=False):
    text: str | None = None


_Texts = str | list[_Part] | None


class _Item(msgspec.Struct, gc=False):
    type: str | None = None
    role: str | None = None
    name: str | None = None
    call_id: str | None = None
    content: _Texts = None
    output: _Texts = None
    arguments: str | None = None
    input: str | None = None


_item = msgspec.json.Decoder(_Item).decode


def glance(turn: Turn, tools: dict[str, str]) -> list[list[Piece]] | None:
    """All strings in the conversation of ``turn``, per element; the names of the tools called go
    into ``tools``. None where only a closer look can tell."""
    raw = turn.own.get(FIELDS[turn.protocol][1], msgspec.Raw())
    try:
        elements = _decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(elements, list) or has_duplicate_keys(bytes(raw), elements):
        return None
    if not all(isinstance(element, dict) for element in elements):
        return None
    read = pieces_of(turn.protocol)
    return [read(element, tools) for element in elements]


def texts_of(raw: msgspec.Raw, tools: dict[str, str]) -> list[Piece] | None:
    """The typed pieces of one element of Responses, as its `elements.Element` has them; None where
    only that can tell."""
    try:
        return list(_texts(_item(raw), tools))
    except (msgspec.DecodeError, RecursionError):
        return None


def _texts(item: _Item, tools: dict[str, str]) -> Iterator[Piece]:
    kind = item.type or "message"
    if kind == "message":
        role = "developer" if item.role == "system" else item.role or "user"
        yield from _each(item.content, role, kind, None)
    elif kind in ("function_call", "custom_tool_call"):
        name = str(item.name)
        tools[str(item.call_id)] = name
        value = item.arguments if kind == "function_call" else item.input
        yield from _each(value, "assistant", kind, name)
    elif kind in ("function_call_output", "custom_tool_call_output"):
        yield from _each(item.output, "tool", kind, tools.get(str(item.call_id)))


def _each(value: _Texts, role: str, kind: str, tool: str | None) -> Iterator[Piece]:
    if isinstance(value, str):
        yield Piece(role, kind, tool, value, (), 0, value)
        return
    texts = [part.text for part in value or () if part.text is not None]
    if not texts and role == "tool":
        yield Piece(role, kind, tool, "", (), 1, "")
    for n, text in enumerate(texts):
        yield Piece(role, kind, tool, text, (), n + 1, text)
