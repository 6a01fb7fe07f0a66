"""The texts of a whole conversation, decoded at once: for a first look whether any rule may hold.

Most rules hold nowhere. A conversation that is new here is long when it was resumed, and taking it
apart element by element would cost as much as translating it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ..turn import Turn
from .elements import FIELDS


class Glance(msgspec.Struct):
    """One text, as `elements.Piece` has it; ``number`` is its element's."""

    role: str
    item: str
    tool: str | None
    first: str
    number: int
    part: int
    text: str


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


_items = msgspec.json.Decoder(list[_Item]).decode
_item = msgspec.json.Decoder(_Item).decode


def glance(turn: Turn, tools: dict[str, str]) -> tuple[int, list[Glance]] | None:
    """How many elements the conversation of ``turn`` has, and its texts; the names of the tools
    called go into ``tools``. None where only a closer look can tell."""
    if turn.protocol != "responses":
        return None
    try:
        items = _items(turn.own.get(FIELDS["responses"][1], msgspec.Raw()))
    except msgspec.DecodeError:
        return None
    return len(items), [text for n, item in enumerate(items) for text in _texts(item, n, tools)]


def texts_of(raw: msgspec.Raw, tools: dict[str, str]) -> list[Glance] | None:
    """The texts of one element of Responses, as its `elements.Element` has them; None where only
    that can tell."""
    try:
        return list(_texts(_item(raw), 0, tools))
    except msgspec.DecodeError:
        return None


def _texts(item: _Item, number: int, tools: dict[str, str]) -> Iterator[Glance]:
    kind = item.type or "message"
    if kind == "message":
        role = "developer" if item.role == "system" else item.role or "user"
        yield from _each(item.content, role, kind, None, number)
    elif kind in ("function_call", "custom_tool_call"):
        name = str(item.name)
        tools[str(item.call_id)] = name
        said = item.arguments if kind == "function_call" else item.input
        yield from _each(said, "assistant", kind, name, number)
    elif kind in ("function_call_output", "custom_tool_call_output"):
        yield from _each(item.output, "tool", kind, tools.get(str(item.call_id)), number)


def _each(said: _Texts, role: str, kind: str, tool: str | None, number: int) -> Iterator[Glance]:
    if isinstance(said, str):
        yield Glance(role, kind, tool, said, number, 0, said)
        return
    texts = [part.text for part in said or () if part.text is not None]
    if not texts and role == "tool":
        yield Glance(role, kind, tool, "", number, 1, "")
    for n, text in enumerate(texts):
        yield Glance(role, kind, tool, text, number, n + 1, text)
