"""Characters that an upstream cut in two: half in one delta, half in the next.

A half is a UTF-16 surrogate, or the first bytes of UTF-8 (as `lenient` reads them). It waits for
the next piece of the same text. A half alone is no character: in a text U+FFFD stands for it, a
call's arguments are `Unreadable` by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .lenient import Unreadable, mapping, objects, one

_ODD = re.compile("[\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_BYTES = re.compile("[\udc80-\udcff]+")
_TEXTS = ("content", "reasoning_content", "reasoning", "thinking", "refusal")
#: Fields that hold a call's arguments: what is unreadable there is never run.
_ARGUMENTS = frozenset({"arguments", "partial_json", "input"})
_INDEXES = ("output_index", "item_id", "content_index", "summary_index", "index")

#: What pieces of one text have in common, and the object and field a piece stands in.
_Place = tuple[tuple[Any, ...], dict[str, Any], str]


class CharacterJoiner:
    """Mends what was cut, event by event; ``held`` are the halves that wait."""

    def __init__(self) -> None:
        self.held: dict[tuple[Any, ...], str] = {}

    @property
    def holds_call(self) -> bool:
        """Whether a call's arguments end in half a character."""
        return any(channel[-1] in _ARGUMENTS for channel in self.held)

    def mend(self, value: dict[str, Any], *, whole: bool = False) -> bool:
        """Put together in place what ``value`` continues; whether anything changed.

        ``whole``: nothing follows that could continue it.
        """
        changed = False
        for channel, box, key in [] if whole else _places(value):
            held, text = self.held.pop(channel, ""), box[key]
            if text and (held or _ODD.search(text)):
                joined, half = _joined(held + text, channel[-1] in _ARGUMENTS)
                box[key], changed = joined, True
                held = half
            if held:
                self.held[channel] = held
        return _scrub(value) or changed


def whole(body: bytes) -> tuple[Any, bool]:
    """The value of an answer that came as one, and whether it had to be mended."""
    value, mended = one(body)
    box = {"": value}
    return (box[""], True) if CharacterJoiner().mend(box, whole=True) else (value, mended)


def _places(value: dict[str, Any]) -> Iterator[_Place]:
    """Where an event of any protocol holds a piece of a longer text."""
    delta, kind = value.get("delta"), str(value.get("type"))
    whose = tuple(str(value.get(name)) for name in _INDEXES)
    if isinstance(delta, str):
        arguments = "arguments" in kind or "input" in kind
        yield (*whose, kind, "arguments" if arguments else "text"), value, "delta"
    for key in ("text", "thinking", "partial_json"):
        if isinstance(mapping(delta).get(key), str):
            yield (*whose, key), mapping(delta), key
    for choice in objects(value.get("choices")):
        inner, at = mapping(choice.get("delta")), str(choice.get("index"))
        for key in _TEXTS:
            if isinstance(inner.get(key), str):
                yield (at, key), inner, key
        for detail in objects(inner.get("reasoning_details")):
            for key in ("text", "summary"):
                if isinstance(detail.get(key), str):
                    yield (at, "details", str(detail.get("index")), key), detail, key
        for call in objects(inner.get("tool_calls")):
            function = mapping(call.get("function"))
            if isinstance(function.get("arguments"), str):
                yield (at, str(call.get("index")), "arguments"), function, "arguments"


def _joined(text: str, arguments: bool) -> tuple[str, str]:
    """(``text`` with whole characters, the half at its end)."""
    text = _PAIR.sub(_pair, text)
    half = ""
    if "\ud800" <= text[-1] <= "\udbff":
        text, half = text[:-1], text[-1]
    pieces, at = [], 0
    for run in _BYTES.finditer(text):
        joined, rest = _decoded(run[0], run.end() == len(text) and not half)
        pieces += [text[at : run.start()], joined]
        half, at = half or rest, run.end()
    text = "".join([*pieces, text[at:]])
    if arguments and (_ODD.search(text) or "\ufffd" in "".join(pieces[1::2])):
        raise Unreadable("arguments that are no text")
    return _ODD.sub("\ufffd", text), half


def _pair(match: re.Match[str]) -> str:
    return match[0].encode("utf-16", "surrogatepass").decode("utf-16")


def _decoded(run: str, last: bool) -> tuple[str, str]:
    """Bytes as characters, and those at the end that may be the first of one."""
    data = run.encode("utf-8", "surrogateescape")
    try:
        return data.decode(), ""
    except UnicodeDecodeError as e:
        if last and e.reason == "unexpected end of data":
            return data[: e.start].decode(), run[e.start :]
    return data.decode("utf-8", "replace"), ""


def _scrub(value: dict[str, Any]) -> bool:
    """Leave no surrogate in any text of ``value``; whether there was one."""
    changed = False
    boxes: list[Any] = [value]
    while boxes:
        box = boxes.pop()
        for key, inner in list(box.items() if isinstance(box, dict) else enumerate(box)):
            if isinstance(inner, dict | list):
                boxes.append(inner)
            elif isinstance(inner, str) and _ODD.search(inner):
                box[key], half = _joined(inner, key in _ARGUMENTS)
                if half and key in _ARGUMENTS:
                    raise Unreadable("arguments that are no text")
                box[key] += "\ufffd" * bool(half)
                changed = True
            if isinstance(key, str) and _ODD.search(key):
                box[_ODD.sub("\ufffd", key)] = box.pop(key)
                changed = True
    return changed
