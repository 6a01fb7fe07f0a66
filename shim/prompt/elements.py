"""A prompt as its elements, in the client's own protocol, and the texts in them.

An element is an item, a message, or the instructions before them. It stays the bytes that came
until a text in it is changed: what no edit touches goes on as it was, unknown fields and all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..turn import Turn, is_text
from ..wire.protocols import codec

#: Per protocol: the field of the instructions before the conversation, and the conversation's.
FIELDS: dict[str, tuple[str | None, str]] = {
    "responses": ("instructions", "input"),
    "chat": (None, "messages"),
    "messages": ("system", "messages"),
}
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.decode
_encode = msgspec.json.encode


class Prompt(msgspec.Struct):
    """The instructions of a turn, where it has a field for them, and its conversation."""

    protocol: str
    head: msgspec.Raw | None
    elements: list[msgspec.Raw]


def read_prompt(turn: Turn) -> Prompt | None:
    """The prompt of ``turn``; None where its conversation is no list: the codec will say so."""
    raw = turn.own.get(FIELDS[turn.protocol][1], msgspec.Raw())
    if turn.protocol == "responses" and is_text(raw):
        elements = [msgspec.Raw(b'{"type":"message","role":"user","content":%b}' % raw)]
    else:
        try:
            elements = _list(raw)
        except msgspec.DecodeError:
            return None
    return Prompt(turn.protocol, head_of(turn), elements)


def head_of(turn: Turn) -> msgspec.Raw | None:
    """The instructions of ``turn`` before its conversation, where it has a field for them."""
    name = FIELDS[turn.protocol][0]
    first = turn.own.get(name) if name else None
    absent = first is None or bytes(memoryview(first)[:4]) == b"null"
    return None if absent else first


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
    made = dict(own)
    for field, value in fields.items():
        made.pop(field, None)
        if value is not None:
            made[field] = msgspec.Raw(_encode(value))
    body = _encode(made)
    if turn.protocol == "responses":
        return Turn(body, made)
    return codec(turn.protocol).read_request(body)


class Piece:
    """One text of an element.

    ``role`` is developer, user, assistant or tool; ``item`` the kind of item it would be in
    Responses; ``tool`` the tool of a call or an output. ``first`` is the text as it came, ``part``
    the how-maniest of a message or an output, from 1, or 0 for all of it.
    """

    __slots__ = ("_box", "_key", "first", "gone", "item", "part", "role", "text", "tool")

    def __init__(
        self, role: str, item: str, tool: str | None, text: str, box: Any, key: str, part: int = 0
    ) -> None:
        self.role = role
        self.item = item
        self.tool = tool
        self.first = self.text = text
        self.gone = False
        self.part = part
        self._box = box
        self._key = key

    def settle(self) -> bool:
        """Write the text back; whether it had changed."""
        if self.gone and self.item != "message":
            # A call wants its output: what it said can go, the output itself cannot.
            self.text = "[left out by the policy]"
        if self.text == self.first and not self.gone:
            return False
        self._box[self._key] = self.text
        return True

    @property
    def whole(self) -> bool:
        """Whether the text is all of its message, not one part of several."""
        return self._key != "text"

    @property
    def box(self) -> Any:
        """What holds the text."""
        return self._box


class Element:
    """One element under an editor's eyes, decoded."""

    def __init__(self, protocol: str, raw: msgspec.Raw, tools: dict[str, str], head: bool) -> None:
        self.raw = raw
        self._head = head
        value = _decode(raw)
        self._value = {"content": value} if head else value
        if head:
            found = _texts(self._value, "content", "developer", "message", None)
        else:
            found = _PIECES[protocol](value, tools) if isinstance(value, dict) else iter(())
        self.pieces = list(found)

    def settled(self) -> msgspec.Raw | None:
        """The element after all edits; None when nothing of it is left."""
        changed = [piece.settle() for piece in self.pieces]
        if not any(changed):
            return self.raw
        value = self._value
        for piece in self.pieces:
            if piece.gone and piece.item == "message":
                if piece.whole:
                    return None
                left = [part for part in value["content"] if part is not piece.box]
                value = {**value, "content": left}
        if not value.get("content", True) and not value.get("tool_calls"):
            return None
        return msgspec.Raw(_encode(value["content"] if self._head else value))


def _parts(parts: Any, role: str, item: str, tool: str | None) -> Iterator[Piece]:
    number = 0
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            number += 1
            yield Piece(role, item, tool, part["text"], part, "text", number)
    if not number and item in _OUTPUTS:
        # It counts, though there is nothing to be read.
        yield Piece(role, item, tool, "", {}, "text", 1)


def _texts(box: Any, key: str, role: str, item: str, tool: str | None) -> Iterator[Piece]:
    value = box.get(key)
    if isinstance(value, str):
        yield Piece(role, item, tool, value, box, key)
    else:
        yield from _parts(value, role, item, tool)


def _role(value: Any) -> str:
    return "developer" if value == "system" else str(value or "user")


def _responses(item: dict[str, Any], tools: dict[str, str]) -> Iterator[Piece]:
    kind = str(item.get("type") or "message")
    if kind == "message":
        yield from _texts(item, "content", _role(item.get("role")), kind, None)
    elif kind in _CALLS:
        name = str(item.get("name"))
        tools[str(item.get("call_id"))] = name
        yield from _texts(item, _CALLS[kind], "assistant", kind, name)
    elif kind in _OUTPUTS:
        yield from _texts(item, "output", "tool", kind, tools.get(str(item.get("call_id"))))


def _chat(message: dict[str, Any], tools: dict[str, str]) -> Iterator[Piece]:
    role = _role(message.get("role"))
    if role == "tool":
        tool = tools.get(str(message.get("tool_call_id")))
        yield from _texts(message, "content", role, "function_call_output", tool)
        return
    yield from _texts(message, "content", role, "message", None)
    for call in message.get("tool_calls") or ():
        inner = call.get("function") or call.get("custom") if isinstance(call, dict) else None
        if isinstance(inner, dict):
            name = str(inner.get("name"))
            tools[str(call.get("id"))] = name
            key = "input" if "input" in inner else "arguments"
            yield from _texts(inner, key, "assistant", "function_call", name)


def _messages(message: dict[str, Any], tools: dict[str, str]) -> Iterator[Piece]:
    role = _role(message.get("role"))
    content = message.get("content")
    if isinstance(content, str):
        yield Piece(role, "message", None, content, message, "content")
        return
    number = 0
    for block in content if isinstance(content, list) else ():
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "tool_result":
            tool = tools.get(str(block.get("tool_use_id")))
            yield from _texts(block, "content", "tool", "function_call_output", tool)
        elif kind == "tool_use":
            name = str(block.get("name"))
            tools[str(block.get("id"))] = name
            said = _encode(block.get("input")).decode()
            # Only to be looked at: what is written to this box goes nowhere.
            yield Piece("assistant", "function_call", name, said, {}, "input")
        elif kind == "text" and isinstance(block.get("text"), str):
            number += 1
            yield Piece(role, "message", None, block["text"], block, "text", number)


_PIECES = {"responses": _responses, "chat": _chat, "messages": _messages}
