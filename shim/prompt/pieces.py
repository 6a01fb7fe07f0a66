"""The texts of an element: those that rules know by role, item and tool, and all other strings.

Strategy: the places that every agent writes (a message's parts, a call, an output) are read by
name, as typed pieces, which have numbers. Where there is anything besides, all strings of the
element are walked, and what was not read by name is a piece too: it can be searched like any text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ..strings import LONG_STATE, STATE, Leaf, Path, is_plain_words, string_leaves
from ..wire.reasoning import MARK

_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
_encode = msgspec.json.encode

#: The kind of a string that is neither a text nor a part of a block of a kind of its own.
FIELD = "field"
#: Why a string may not be changed. What a model wrote as a call stays without a word.
CALL = "the model wrote it in a call"
_SIGNED = "its provider has signed it"
_SEALED = "it is its provider's own state"
_NAME = "it is the name by which calls and tools belong together"

#: Blocks whose strings have no kind of their own.
_PLAIN = frozenset(
    {
        "message",
        "text",
        "input_text",
        "output_text",
        "tool_use",
        "tool_result",
        "function",
        "custom",
        *_CALLS,
        *_OUTPUTS,
    }
)
#: What makes an object with a name a tool, or a call of one.
_TOOLISH = frozenset(
    {"arguments", "input", "parameters", "input_schema", "call_id", "tool_use_id", "tools"}
)
#: Fields that name tools wherever they are.
TOOL_NAMES = frozenset({"namespace", "tool_name", "server_label", "server_name"})
#: Fields of elements in which nothing is said besides the typed pieces.
_ITEM = frozenset({"type", "role", "content", "id", "status", "phase"})
_CALL_ITEMS = {
    kind: frozenset({"type", "call_id", "name", "id", "status", field})
    for kind, field in _CALLS.items()
}
_THOUGHT = frozenset({"type", "id", "summary", "content", "encrypted_content", "status"})
_OUTPUT_ITEM = frozenset({"type", "call_id", "output", "id", "status"})
_MESSAGE = frozenset({"role", "content"})
_TOOL_MESSAGE = frozenset({"role", "content", "tool_call_id"})
_CALLING = frozenset({"role", "content", "tool_calls"})
_CALL = frozenset({"id", "type", "index", "function", "custom"})
_FUNCTION = frozenset({"name", "arguments", "input"})
_TOOL_USE = frozenset({"type", "id", "name", "input"})
_TEXT_PART = frozenset({"type", "text"})
_AT_OUTPUT, _AT_NAME = ("output",), ("name",)
_ANSWER_PART = frozenset({"type", "text", "annotations", "logprobs"})


class Piece(msgspec.Struct, gc=False):
    """One text of an element.

    ``role`` is developer, user, assistant or tool; ``item`` the kind of item it would be in
    Responses, or of the block it is in; ``tool`` the tool of a call or an output. ``first`` is the
    text as it came, ``part`` the number of a message's or an output's part, from 1, or 0 for all of
    it; it is -1 for a string that is no such text. ``immutable`` says why it may not be changed.
    """

    role: str
    item: str
    tool: str | None
    first: str
    path: Path
    part: int
    text: str
    immutable: str | None = None
    gone: bool = False

    @property
    def whole(self) -> bool:
        """Whether the text is all of its message, not one part of several."""
        return self.part == 0


def pieces_of(protocol: str) -> Callable[[dict[str, Any], dict[str, str]], list[Piece]]:
    """What reads all texts of one element, or of the "settings" beside them: the typed ones first.
    The names of the tools called go into a table of them by id."""
    return _READ[protocol]


def head_pieces(value: Any) -> list[Piece]:
    """The texts of the instructions before a conversation."""
    pieces: list[Piece] = []
    if isinstance(value, str):
        return [Piece("developer", "message", None, value, (), 0, value)]
    if not _parts(value, (), "developer", "message", None, pieces):
        pieces += _others(value, pieces, "developer", None)
    return pieces


def _parts(
    parts: Any, path: Path, role: str, item: str, tool: str | None, pieces: list[Piece]
) -> bool:
    """Add the texts of a list of parts; whether that is all there is to read in it."""
    plain, number = True, 0
    if isinstance(parts, list):
        for n, part in enumerate(parts):
            text = part.get("text") if isinstance(part, dict) else None
            if isinstance(text, str):
                number += 1
                pieces.append(Piece(role, item, tool, text, (*path, n, "text"), number, text))
                if part.keys() != _TEXT_PART and not _is_answer(part):
                    plain = False
            else:
                plain = False
    elif parts is not None:
        plain = False
    if not number and item in _OUTPUTS:
        # It counts, though there is nothing to be read.
        pieces.append(Piece(role, item, tool, "", (), 1, ""))
    return plain


def _is_answer(part: dict[str, Any]) -> bool:
    return part.keys() <= _ANSWER_PART and not part.get("annotations") and not part.get("logprobs")


def _texts(
    box: dict[str, Any],
    key: str,
    path: Path,
    role: str,
    item: str,
    tool: str | None,
    pieces: list[Piece],
) -> bool:
    value = box.get(key)
    if isinstance(value, str):
        pieces.append(Piece(role, item, tool, value, (*path, key), 0, value))
        return True
    return _parts(value, (*path, key), role, item, tool, pieces)


def _named(name: Any, path: Path, pieces: list[Piece]) -> str:
    """Add the name of a called tool."""
    if isinstance(name, str):
        pieces.append(Piece("assistant", FIELD, name, name, path, -1, name, _NAME))
    return str(name)


def role_of(value: Any) -> str:
    """The role of a message, as rules have it."""
    return "developer" if value == "system" else str(value or "user")


def _responses(item: dict[str, Any], tools: dict[str, str]) -> list[Piece]:
    pieces: list[Piece] = []
    kind = item.get("type") or "message"
    if type(kind) is not str:
        kind = str(kind)
    role: str = "tool"
    tool: str | None = None
    # The three that make a long conversation, as they mostly are.
    if kind in _OUTPUTS:
        tool = tools.get(str(item.get("call_id")))
        raw_text = item.get("output")
        if isinstance(raw_text, str):
            pieces.append(Piece(role, kind, tool, raw_text, _AT_OUTPUT, 0, raw_text))
            plain = item.keys() <= _OUTPUT_ITEM
        else:
            plain = _parts(raw_text, _AT_OUTPUT, role, kind, tool, pieces)
            plain = plain and item.keys() <= _OUTPUT_ITEM
    elif kind in _CALLS:
        role, field, name = "assistant", _CALLS[kind], item.get("name")
        tool = str(name)
        tools[str(item.get("call_id"))] = tool
        raw_text = item.get(field)
        if isinstance(raw_text, str):
            pieces.append(Piece(role, kind, tool, raw_text, (field,), 0, raw_text))
            plain = item.keys() <= _CALL_ITEMS[kind]
        else:
            _parts(raw_text, (field,), role, kind, tool, pieces)
            plain = False
        if isinstance(name, str):
            pieces.append(Piece(role, FIELD, tool, name, _AT_NAME, -1, name, _NAME))
    elif kind == "message":
        role = role_of(item.get("role"))
        plain = _texts(item, "content", (), role, kind, None, pieces) and item.keys() <= _ITEM
    elif kind == "reasoning":
        role = "assistant"
        plain = _is_sealed(item)
    else:
        role, plain = _role_of_kind(kind, item), False
    if not plain:
        pieces += _others(item, pieces, role, tool)
    return pieces


def _is_sealed(item: dict[str, Any]) -> bool:
    """Whether nothing of a thought can be read, as with most of Codex's."""
    sealed = item.get("encrypted_content")
    if item.get("summary") or item.get("content") or not item.keys() <= _THOUGHT:
        return False
    if not isinstance(sealed, str):
        return sealed is None
    return len(sealed) >= LONG_STATE and not is_plain_words(sealed)


def _role_of_kind(kind: str, item: dict[str, Any]) -> str:
    if kind.endswith("_output"):
        return "tool"
    if kind.endswith("_call") or kind == "reasoning":
        return "assistant"
    if isinstance(item.get("role"), str):
        return role_of(item["role"])
    return "developer" if kind == "additional_tools" else "user"


def _chat(message: dict[str, Any], tools: dict[str, str]) -> list[Piece]:
    pieces: list[Piece] = []
    role = role_of(message.get("role"))
    if role == "tool":
        tool = tools.get(str(message.get("tool_call_id")))
        plain = _texts(message, "content", (), role, "function_call_output", tool, pieces)
        if not (plain and message.keys() <= _TOOL_MESSAGE):
            pieces += _others(message, pieces, role, tool)
        return pieces
    plain = _texts(message, "content", (), role, "message", None, pieces)
    if "tool_calls" in message:
        plain = _chat_calls(message["tool_calls"], tools, pieces) and plain
    if not (plain and message.keys() <= _CALLING):
        pieces += _others(message, pieces, role, None)
    return pieces


def _chat_calls(calls: Any, tools: dict[str, str], pieces: list[Piece]) -> bool:
    """Add the calls of an assistant's message; whether that is all there is to read in them."""
    if not isinstance(calls, list):
        return calls is None
    plain = True
    for n, call in enumerate(calls):
        kind = "custom" if isinstance(call, dict) and not call.get("function") else "function"
        inner = call.get(kind) if isinstance(call, dict) else None
        if not isinstance(inner, dict):
            plain = False
            continue
        name, path = str(inner.get("name")), ("tool_calls", n, kind)
        tools[str(call.get("id"))] = name
        key = "input" if "input" in inner else "arguments"
        plain = _texts(inner, key, path, "assistant", "function_call", name, pieces) and plain
        _named(inner.get("name"), (*path, "name"), pieces)
        plain = plain and call.keys() <= _CALL and inner.keys() <= _FUNCTION
    return plain


def _messages(message: dict[str, Any], tools: dict[str, str]) -> list[Piece]:
    pieces: list[Piece] = []
    role = role_of(message.get("role"))
    content = message.get("content")
    if isinstance(content, str):
        pieces.append(Piece(role, "message", None, content, ("content",), 0, content))
    others: list[tuple[Any, Path, str, str | None]] = []
    if isinstance(content, dict) or not message.keys() <= _MESSAGE:
        rest = {k: v for k, v in message.items() if k != "content" or isinstance(v, dict)}
        others.append((rest, (), role, None))
    number = 0
    for n, block in enumerate(content if isinstance(content, list) else ()):
        kind = block.get("type") if isinstance(block, dict) else None
        path: Path = ("content", n)
        if kind == "tool_result":
            tool = tools.get(str(block.get("tool_use_id")))
            output = "function_call_output"
            plain = _texts(block, "content", path, "tool", output, tool, pieces)
            if not (plain and block.keys() <= _RESULT):
                others.append((block, path, "tool", tool))
        elif kind == "tool_use":
            name = str(block.get("name"))
            tools[str(block.get("id"))] = name
            raw_text = _encode(block.get("input")).decode()
            # Only to be looked at.
            pieces.append(
                Piece("assistant", "function_call", name, raw_text, (*path, "input"), 0, raw_text)
            )
            _named(block.get("name"), (*path, "name"), pieces)
            if not block.keys() <= _TOOL_USE:
                rest = {k: v for k, v in block.items() if k not in _TOOL_USE}
                others.append((rest, path, "assistant", name))
        elif kind == "text" and isinstance(block.get("text"), str):
            number += 1
            text = block["text"]
            pieces.append(Piece(role, "message", None, text, (*path, "text"), number, text))
            if block.keys() != _TEXT_PART:
                others.append((block, path, role, None))
        else:
            served = isinstance(kind, str) and kind.endswith("_tool_result")
            others.append((block, path, "tool" if served else role, None))
    for value, path, speaker, tool in others:
        pieces += _others(value, pieces, speaker, tool, path)
    return pieces


_RESULT = frozenset({"type", "tool_use_id", "content", "is_error"})


def _settings(value: dict[str, Any], tools: dict[str, str]) -> list[Piece]:
    return list(_others(value, [], "developer", None))


_READ = {
    "responses": _responses,
    "chat": _chat,
    "messages": _messages,
    "settings": _settings,
}


def _others(
    value: Any, typed: list[Piece], role: str, tool: str | None, base: Path = ()
) -> Iterator[Piece]:
    """The strings of ``value``, which stands at ``at``, that are no typed piece."""
    taken = {piece.path for piece in typed}
    for leaf in string_leaves(value):
        path = (*base, *leaf.path)
        if path in taken or not leaf.text:
            continue
        kind = _kind(value, leaf)
        immutable = _immutable(leaf, kind)
        yield Piece(role, kind, tool, leaf.text, path, -1, leaf.text, immutable)


def _kind(value: Any, leaf: Leaf) -> str:
    """The type of the outermost block around a string that is of a kind of its own."""
    if leaf.path[:1] == ("function_call",):
        return "function_call"
    for step in (None, *leaf.path):
        if isinstance(step, tuple):
            break
        value = value if step is None else value[step]
        kind = value.get("type") if isinstance(value, dict) else None
        if isinstance(kind, str) and kind not in _PLAIN:
            return kind
    return "function_call" if leaf.free else FIELD


def is_signed(block: dict[str, Any]) -> bool:
    """Whether a provider has signed a thought; what the chain packs itself is no signature."""
    signature = block.get("signature")
    return isinstance(signature, str) and signature != "" and not signature.startswith(MARK)


def immutable_name(leaf: Leaf) -> str | None:
    """Why not even a mask may stand in a string, if none may."""
    return _NAME if not leaf.free and _names_tool(leaf.field, leaf.holder) else None


def _immutable(leaf: Leaf, kind: str) -> str | None:
    """Why a string may not be changed, if it may not."""
    holder, field = leaf.holder, leaf.field
    if leaf.free:
        return CALL
    if _names_tool(field, holder):
        return _NAME
    if kind == "function_call" or kind.endswith(("_call", "_use")):
        return CALL
    if "reasoning_details" in leaf.path:
        return _SEALED
    if field in STATE:
        return None if is_plain_words(leaf.text) else _SEALED
    if holder is None:
        return None
    if field == "thinking" and is_signed(holder):
        return _SIGNED
    return _SEALED if holder.get("type") == "redacted_thinking" else None


def _names_tool(field: str, holder: dict[str, Any] | None) -> bool:
    if field in TOOL_NAMES:
        return True
    if field != "name" or holder is None:
        return False
    return not holder.keys().isdisjoint(_TOOLISH) or holder.get("type") == "tool_use"
