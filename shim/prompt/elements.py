"""A prompt as its elements, in the client's own protocol, and the texts in them.

An element is an item, a message, or the instructions before them. It stays the bytes that came
until a text in it is changed, and then all but that text stays: what no edit touches goes on as it
was, unknown fields and all.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..json_text import (
    WireError,
    format_path,
    has_duplicate_keys,
    join_place,
    load,
    split,
    without_duplicate_keys,
)
from ..strings import Path
from ..turn import Turn, is_absent, is_text
from ..wire.protocols import codec
from .pieces import Piece, head_pieces, pieces_of
from .splice import GONE, Change, readable_value, spliced

#: Per protocol: the field of the instructions before the conversation, and the conversation's.
FIELDS: dict[str, tuple[str | None, str]] = {
    "responses": ("instructions", "input"),
    "chat": (None, "messages"),
    "messages": ("system", "messages"),
}
_encode = msgspec.json.encode


class Prompt(msgspec.Struct):
    """The instructions of a turn, where it has a field for them, and its conversation."""

    protocol: str
    head: msgspec.Raw | None
    elements: list[msgspec.Raw]


def read_prompt(turn: Turn) -> Prompt:
    """The prompt of ``turn``; WireError where its conversation is no list."""
    name = FIELDS[turn.protocol][1]
    raw = turn.own.get(name, msgspec.Raw())
    if turn.protocol == "responses" and is_text(raw):
        elements = [msgspec.Raw(b'{"type":"message","role":"user","content":%b}' % raw)]
    elif bytes(memoryview(raw)[:1]) != b"[":
        kinds = "a string or a list of items" if turn.protocol == "responses" else "a list"
        raise WireError(f"{name} must be {kinds}", param=name)
    else:
        elements = split(raw, name)
    return Prompt(turn.protocol, head_of(turn), elements)


def head_of(turn: Turn) -> msgspec.Raw | None:
    """The instructions of ``turn`` before its conversation, where it has a field for them."""
    name = FIELDS[turn.protocol][0]
    first = turn.own.get(name) if name else None
    return None if first is None or is_absent(first) else first


def write_prompt(turn: Turn, prompt: Prompt, **fields: Any) -> Turn:
    """``turn`` with ``prompt`` in the place of its own, and ``fields`` of the top level set."""
    head, name = FIELDS[turn.protocol]
    own = dict(turn.own)
    own[name] = msgspec.Raw(b"[%b]" % b",".join(prompt.elements))
    if head and prompt.head is not None:
        own[head] = prompt.head
    elif head:
        own.pop(head, None)
    return with_own(turn, own, **fields)


def with_own(turn: Turn, own: dict[str, msgspec.Raw], **fields: Any) -> Turn:
    """The turn whose top-level fields are ``own``, and ``fields``; None takes one away."""
    result = dict(own)
    for field, value in fields.items():
        result.pop(field, None)
        if value is not None:
            result[field] = msgspec.Raw(_encode(value))
    body = _encode(result)
    if turn.protocol == "responses":
        return Turn(body, result, has_surrogates=turn.has_surrogates)
    return codec(turn.protocol).read_request(body)


class Element:
    """One element under an editor's eyes, decoded. ``place`` is where it stands; WireError with the
    place of what cannot be read.

    ``strings`` are all that anybody wrote in it, ``pieces`` those of them that rules know by role,
    item and tool.
    """

    def __init__(
        self, protocol: str, raw: msgspec.Raw, tools: dict[str, str], head: bool, place: str = ""
    ) -> None:
        self.raw = raw
        self.place = place
        self._head = head
        value, self._has_surrogates = readable_value(raw, place)
        if has_duplicate_keys(bytes(raw), value):
            # What is looked at is what is sent.
            self.raw = without_duplicate_keys(raw, place)
        self._value = value
        if head:
            pieces = head_pieces(value)
        elif isinstance(value, dict):
            pieces = pieces_of(protocol)(value, tools)
        else:
            raise WireError(f"{place}: must be an object", param=place)
        self.strings = pieces
        self.pieces = [piece for piece in pieces if piece.part >= 0]

    def where(self, piece: Piece) -> str:
        """The place of ``piece``, in the client's own words."""
        return join_place(self.place, format_path(piece.path))

    def settled(self) -> msgspec.Raw | None:
        """The element after all edits; None when nothing of it is left."""
        changes: dict[Path, Change] = {}
        for piece in self.strings:
            if piece.gone and piece.item == "message" and piece.part >= 0:
                if piece.whole and self._says_no_more():
                    return None
                # A part goes, the whole of a message that holds calls besides says nothing.
                changes[piece.path if piece.whole else piece.path[:-1]] = (
                    None if piece.whole else GONE
                )
            elif piece.gone:
                # A call wants its output: what it said can go, the output itself cannot.
                changes[piece.path] = "[left out by the policy]"
            elif piece.text != piece.first:
                changes[piece.path] = piece.text
        if not changes:
            return self.raw
        result = spliced(self.raw, changes, has_surrogates=self._has_surrogates)
        less = any(change in (GONE, None, "") for change in changes.values())
        return None if less and self._is_empty(result) else result

    def _says_no_more(self) -> bool:
        return self._head or not self._value.get("tool_calls")

    def _is_empty(self, result: msgspec.Raw) -> bool:
        if self._head:
            return bytes(result) in (b"[]", b'""')
        left = load(result, self.place, _said)
        empty = bytes(left.content).strip() in (b"[]", b'""')
        return empty and not self._value.get("tool_calls")


class _Said(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw()


_said = msgspec.json.Decoder(_Said).decode
