"""References: how dedup writes that lines stand earlier in the prompt, and how that is read back.

``[^same as lines 12-40 of output 7: its first line]``; texts are called by their kind and number: a
tool's ``output``, a ``call`` (and the field of its arguments), a ``message`` of anybody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from .pieces import Piece

BEGIN = "[^same as lines "
_REFERENCE = re.compile(
    r"\[\^same as lines (\d+)-(\d+) of ((?:output|call|message) [\d.]+(?: [\w-]+)?)"
    r"(, without the \+)?: .*\]"
)
#: What is sent with one backslash more than it has.
LIKE_ONE = re.compile(r"\\*\[\^same as lines ")
_ESCAPED = re.compile(r"\\+\[\^same as lines ")
#: Older Codex wraps what a command wrote in JSON.
_WRAPPED = '{"output":"'
_FIELD = re.compile(r"[\w-]+")
_raw_string = json.JSONDecoder().raw_decode


class Names:
    """What the texts of a prompt are called in references: by kind, in the order they come."""

    def __init__(self) -> None:
        self._count = {"output": 0, "call": 0, "message": 0}

    def name(self, piece: Piece) -> str:
        """The name of the next text."""
        kind = "message" if piece.item == "message" else "call" if is_call(piece) else "output"
        if piece.part <= 1:
            self._count[kind] += 1
        number = f"{kind} {self._count[kind]}"
        return f"{number}.{piece.part}" if piece.part > 1 else number


def is_call(piece: Piece) -> bool:
    """Whether the text is what the model called a tool with."""
    return piece.item in ("function_call", "custom_tool_call")


def fields(given: str) -> Iterator[tuple[str, str]]:
    """The texts in a call's arguments, by field; under no name where they are none."""
    value: Any = None
    if given[:1] == "{":
        try:
            value = msgspec.json.decode(given.encode("utf-8", "surrogatepass"))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            pass
    if not isinstance(value, dict):
        yield "", given
        return
    for field, text in value.items():
        if isinstance(text, str) and "\n" in text and _FIELD.fullmatch(field):
            yield field, text


def unwrapped(text: str) -> tuple[str, str, str] | None:
    """What stands before, in and behind the string in which older Codex wraps an output; None
    where there is none, or where it would not come out again as it was."""
    if not text.startswith(_WRAPPED):
        return None
    begin = len(_WRAPPED) - 1
    try:
        inner, end = _raw_string(text, begin)
    except (ValueError, RecursionError):
        return None
    if quoted(inner) != text[begin:end]:
        return None
    return text[:begin], inner, text[end:]


def quoted(text: str) -> str:
    """The text as a JSON string, as Codex writes it."""
    return json.dumps(text, ensure_ascii=False)


def expand(prompt: Iterable[tuple[Piece, bool]]) -> list[str]:
    """The texts as they were before `Dedup`, of those it made; with each, whether it was one that
    Dedup may change (its role and tool)."""
    names = Names()
    texts: dict[str, list[str]] = {}
    made = []
    for piece, changed in prompt:
        name = names.name(piece)
        if is_call(piece):
            for field, given in fields(piece.text):
                texts[f"{name} {field}" if field else name] = given.split("\n")
            made.append(piece.text)
            continue
        whole = unwrapped(piece.text) if changed else None
        head, inner, end = whole or ("", piece.text, "")
        texts[name] = lines = inner.split("\n")
        if not changed:
            made.append(piece.text)
            continue
        text = "\n".join(_expanded(lines, texts))
        made.append(f"{head}{quoted(text)}{end}" if whole else text)
    return made


def _expanded(lines: list[str], texts: dict[str, list[str]]) -> Iterator[str]:
    for line in lines:
        if match := _REFERENCE.fullmatch(line):
            found = texts[match[3]][int(match[1]) - 1 : int(match[2])]
            yield from (x[1:] for x in found) if match[4] else found
        else:
            yield line[1:] if _ESCAPED.match(line) else line
