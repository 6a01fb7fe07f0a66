"""Arguments that are nearly JSON, made JSON again.

Our own rules come first, each for one kind of damage; `json_repair` guesses at what they leave, and
is believed only where it has neither lost nor made up a word. A text without an end is never given
one silently: see `Mended.cut`.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

#: Strings over this are not worth a guess.
_MOST = 128 * 1024
_MOST_GUESSED, _DEEPEST = 32 * 1024, 500
#: How a value is told that stood among other text.
AROUND = "text around it"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.S)
_EMPTY = re.compile(r"\{\s*\}\s*\{(?=\s*\")")
_COMMA = re.compile(r",(\s*[}\]])")
_WORDS = {"None": "null", "True": "true", "False": "false", "undefined": "null"}
_WORD = re.compile(r"\b(?:None|True|False|undefined)\b")
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.S)
#: What the rules raise where they do not fit: Python's literals may be sets, which JSON lacks.
_NO_VALUE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    SyntaxError,
    RecursionError,
    MemoryError,
)
_lenient = json.JSONDecoder(strict=False)


class Mended(msgspec.Struct, frozen=True):
    """A value, what had to be done to read it (empty: nothing), and whether a text in it was cut
    off."""

    value: Any
    how: str = ""
    cut: bool = False

    @property
    def completed(self) -> bool:
        """Whether something was added at its end: without a close behind it, it may be half."""
        return self.cut or self.how in ("brackets", "quotes")


def mend(text: str) -> Mended | None:
    """The value that ``text`` was meant to be; None where that would be a guess."""
    text = text.strip()
    try:
        return Mended(json.loads(text))
    except (ValueError, RecursionError):
        pass
    if len(text) > _MOST:
        return None
    for how, rule in _RULES:
        try:
            value = rule(text)
        except _NO_VALUE:
            continue
        if isinstance(value, dict | list):
            return Mended(value, how, cut=how == "text closed")
    return None


def open_string(text: str) -> bool:
    """Whether JSON stops inside a text."""
    return '"' in _STRING.sub("", text)


def values(text: str) -> list[Any] | None:
    """The JSON values ``text`` consists of, with nothing but separators between them."""
    found: list[Any] = []
    at, size = _skip(text, 0), len(text)
    while at < size:
        try:
            value, at = _lenient.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        found.append(value)
        at = _skip(text, at)
    return found


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n,;":
        at += 1
    return at


def _raw_newlines(text: str) -> Any:
    return _lenient.decode(text)


def _around(text: str) -> Any:
    """The one object in a text; of several the one that holds something, or all alike."""
    starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    if not starts:
        raise ValueError
    found: list[Any] = []
    at = min(starts)
    while at >= 0:
        value, end = _lenient.raw_decode(text, at)
        found.append(value)
        at = text.find("{", end)
    full = [v for v in found if v]
    if any(v != full[0] for v in full):
        raise ValueError
    return full[0] if full else found[0]


def _tidied(text: str) -> str:
    """``text`` with Python's words and trailing commas put right outside of its strings."""
    out, at = [], 0
    for match in _STRING.finditer(text):
        out.append((text[at : match.start()], match[0]))
        at = match.end()
    out.append((text[at:], ""))
    plain = "\0".join(_WORD.sub(lambda m: _WORDS[m[0]], part) for part, _ in out)
    plain = _COMMA.sub(r"\1", plain)
    parts = plain.split("\0")
    return "".join(a + b for a, (_, b) in zip(parts, out, strict=True))


def _words(text: str) -> Any:
    if "\0" in text:
        raise ValueError
    return _lenient.decode(_EMPTY.sub("{", _tidied(text)))


def _around_words(text: str) -> Any:
    return _around(_tidied(text))


def _python(text: str) -> Any:
    value = ast.literal_eval(text)
    json.dumps(value)
    return value


def _brackets(text: str) -> Any:
    """Closes what is open, and drops what closes nothing; texts must be whole."""
    text = _tidied(text) if "\0" not in text else text
    if open_string(text):
        raise ValueError
    stack: list[str] = []
    out: list[str] = []
    at = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', text, re.S):
        mark = match[0]
        out.append(text[at : match.start()])
        at = match.end()
        if mark in "{[":
            stack.append("}" if mark == "{" else "]")
        elif mark in "}]":
            while stack and stack[-1] != mark and mark in stack:
                out.append(stack.pop())
            if not stack or stack[-1] != mark:
                continue
            stack.pop()
        out.append(mark)
    made = "".join(out) + text[at:].rstrip(" \r\n\t,") + "".join(reversed(stack))
    return _lenient.decode(_COMMA.sub(r"\1", made))


def _guessed(text: str) -> Any:
    from json_repair import loads

    if len(text) > _MOST_GUESSED or text.count("{") + text.count("[") > _DEEPEST:
        raise ValueError
    value = loads(text, skip_json_loads=True)
    if not isinstance(value, dict | list) or not value:
        raise ValueError
    if _letters(text) != _letters(json.dumps(value, ensure_ascii=False)):
        raise ValueError
    return value


def _quoted(text: str) -> Any:
    if open_string(text):
        raise ValueError
    return _guessed(text)


def _closed(text: str) -> Any:
    return _guessed(text)


def _letters(text: str) -> str:
    """What of ``text`` no repair may change."""
    text = _WORD.sub(lambda m: _WORDS[m[0]], text)
    return re.sub(r"\W+", "", _ESCAPE.sub("", text))


_RULES: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("raw line breaks", _raw_newlines),
    ("commas and words", _words),
    (AROUND, _around),
    (AROUND, _around_words),
    ("Python's quotes", _python),
    ("brackets", _brackets),
    ("quotes", _quoted),
    ("text closed", _closed),
)
