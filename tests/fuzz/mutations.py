"""Odd things done to JSON, as values: what a place in it becomes, and what no value writes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.case import Edit

#: Values of other types than a field has.
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 1e300, 2**64, "", "x", "{", "[]", "null", "\u2028\x00"),
    *([], {}, [None], [[]], [{}], ["x"], [5], {"a": None}, {"type": None}, {"type": ["x"]}),
    *({"type": "text"}, {"type": "text", "text": 5}, [{"type": "text", "text": "x"}], {"": ""}),
    *("é" * 9, "\ud83d", "a\udc00b", "‮abc", "e\u0301" * 5, "😀", "a" * 3000, "\x7f\x1b[31m"),
    *("data:image/png;base64,iVBORw0KGgo=", "data:,", "interpose.1.e30=", "MASKED_"),
]
#: JSON that no value makes, each for a marker in its place.
LITERALS = (
    b"1e999",
    b"-1e999",
    b"9" * 30,
    b"9" * 5000,
    b"NaN",
    b"Infinity",
    b'"\xff"',
    b'"\\ud83d"',
    b'{"text":"a","text":"b"}',
    b'{"type":"text","type":"message"}',
    b"[" * 300 + b"]" * 300,
    b'{"a":' * 700 + b"1" + b"}" * 700,
    b"[" * 20000 + b"]" * 20000,
    b'"\\u0000"',
    b"",
)
_MARK = "@literal:"
#: What ``edits`` does, and what no place is needed for.
KINDS = ("odd", "odd", "literal", "remove", "rename", "wrap", "copy", "move", "grow", "foreign")
#: Blocks and items that belong to one protocol only.
FOREIGN: list[Any] = [
    {"type": "tool_use", "id": "t9", "name": "run", "input": {"a": 1}},
    {"type": "tool_result", "tool_use_id": "t9", "content": "x"},
    {"type": "thinking", "thinking": "hm", "signature": "Eq=="},
    {"type": "input_text", "text": "x"},
    {"type": "function_call", "call_id": "c9", "name": "run", "arguments": "{}"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    {"role": "tool", "tool_call_id": "c9", "content": "x"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c9", "function": {"name": "x"}}]},
    {"type": "item_reference", "id": "msg_9"},
    {"type": "compaction", "encrypted_content": "interpose.1.e30="},
    {"type": "compaction_trigger"},
]


def one_in(many: int) -> st.SearchStrategy[bool]:
    """True once in so many times; simplest is False."""
    # Hypothesis likes the borders of a range.
    return st.integers(0, 2 * many + 1).map(lambda n: n in (many // 2 + 1, many + many // 2))


def edits(most: int) -> st.SearchStrategy[tuple[Edit, ...]]:
    """Up to ``most`` odd things."""
    one = st.builds(Edit, st.sampled_from(KINDS), st.integers(0, 400), st.integers(0, 60))
    return st.lists(one, max_size=most).map(tuple)


def places(value: Any) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """(the way to it, what holds it, its key or index) of each value inside ``value``."""
    todo: list[tuple[tuple[Any, ...], Any]] = [((), value)]
    while todo:
        way, box = todo.pop()
        for key, inner in list(box.items() if isinstance(box, dict) else enumerate(box)):
            yield (*way, key), box, key
            if isinstance(inner, dict | list):
                todo.append(((*way, key), inner))


def edited(value: Any, todo: tuple[Edit, ...]) -> Any:
    """A copy of ``value`` with all of ``todo`` done to it."""
    top = [copy.deepcopy(value)]
    for edit in todo:
        if found := [(box, key) for _, box, key in places(top)]:
            _edit(*found[edit.at % len(found)], edit, found)
    return top[0] if top else None


def _edit(box: Any, key: Any, edit: Edit, found: list[tuple[Any, Any]]) -> None:
    old = box[key]
    if edit.how == "odd":
        box[key] = copy.deepcopy(ODD[edit.what % len(ODD)])
    elif edit.how == "literal":
        box[key] = f"{_MARK}{edit.what % len(LITERALS)}"
    elif edit.how == "remove":
        del box[key]
    elif edit.how == "rename" and isinstance(box, dict):
        del box[key]
        box[("x", "", "é", "type", "content", "id", "role", "name")[edit.what % 8]] = old
    elif edit.how == "wrap":
        for _ in range((1, 2, 40)[edit.what % 3]):
            old = [old] if edit.what % 2 else {"x": old}
        box[key] = old
    elif edit.how == "copy" and isinstance(box, list):
        box.insert(edit.what % (len(box) + 1), copy.deepcopy(old))
    elif edit.how == "move":
        other, name = found[edit.what % len(found)]
        if (isinstance(other, dict) and name in other) or (
            isinstance(other, list) and name < len(other)
        ):
            box[key], other[name] = copy.deepcopy(other[name]), copy.deepcopy(old)
    elif edit.how == "grow" and isinstance(old, str | list):
        box[key] = old * (2, 30, 600)[edit.what % 3]
    elif edit.how == "foreign":
        thing = copy.deepcopy(FOREIGN[edit.what % len(FOREIGN)])
        box[key] = [*old, thing] if isinstance(old, list) else thing


#: How JSON may be written.
STYLES = ("compact", "spaced", "ascii", "escaped", "slashes")


def written(value: Any, style: str = "compact") -> bytes:
    """``value`` as JSON, with what no value makes in its places."""
    tight = None if style == "spaced" else (",", ":")
    try:
        text = json.dumps(value, ensure_ascii=style != "compact", separators=tight)
    except RecursionError:
        return b"[]"
    if style == "escaped" and _MARK not in text:
        text = _escaped(text)
    elif style == "slashes":
        text = text.replace("/", "\\/")
    body = text.encode("utf-8", "surrogatepass")
    if _MARK.encode() in body:
        for number in range(len(LITERALS) - 1, -1, -1):
            body = body.replace(f'"{_MARK}{number}"'.encode(), LITERALS[number])
    return body


def _escaped(text: str) -> str:
    """JSON with the letters of its strings written by number, as no encoder does but any may."""
    out, inside, at = [], False, 0
    while at < len(text):
        char = text[at]
        if char == '"':
            inside = not inside
        elif inside and char == "\\":
            many = 6 if text[at + 1] == "u" else 2
            out.append(text[at : at + many])
            at += many
            continue
        elif inside and char.isalpha() and at % 3 == 0 and out[-1][:1] != "\\":
            char = f"\\u{ord(char):04x}"
        out.append(char)
        at += 1
    return "".join(out)
