"""Where each statement of a TOML text stands: whole lines, by offset.

Only for texts that a parser has taken; so this scanner need only know where strings, brackets and
comments end, and can keep every byte in its place, which no writer of parsed TOML can promise.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

_PART = re.compile(r"""[ \t]*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*""")
# A multi-line string may end in up to two quotes of its own.
_TOKEN = re.compile(
    r'"{3}(?:\\.|[^\\])*?"{3,5}|' r"'{3}.*?'{3,5}|"
    r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'|#[^\n]*|[\[\]{}\n]",
    re.S,
)  # fmt: skip
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*|\r?)(?:\n|\Z)")


@dataclass(frozen=True)
class Statement:
    """A header or a key with its value: the lines ``[start, end)`` of the text.

    ``path`` is the whole name from the root on; ``table`` the header it stands under.
    """

    start: int
    end: int
    path: tuple[str, ...]
    table: tuple[str, ...]
    header: bool


def statements(text: str) -> Iterator[Statement]:
    """Every statement of ``text``, in order; ``text`` must be valid TOML without a BOM."""
    at = 0
    table: tuple[str, ...] = ()
    while at < len(text):
        blank = _BLANK.match(text, at)
        if blank and blank.end() > at:
            at = blank.end()
            continue
        begin = at
        while text[at] in " \t":
            at += 1
        header = text[at] == "["
        if header:
            at += 2 if text.startswith("[[", at) else 1
        path, at = _key(text, at)
        if header:
            table = path
            at = _line_end(text, at)
        else:
            path = table + path
            at = _value_end(text, at)
        yield Statement(begin, at, path, table, header)


def _key(text: str, at: int) -> tuple[tuple[str, ...], int]:
    parts: list[str] = []
    while found := _PART.match(text, at):
        parts += tomllib.loads(f"{found[1]} = 0")
        at = found.end()
        if not text.startswith(".", at):
            break
        at += 1
    return tuple(parts), at


def _value_end(text: str, at: int) -> int:
    depth = 0
    for token in _TOKEN.finditer(text, at):
        sign = token[0]
        if sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        elif sign == "\n" and not depth:
            return token.end()
    return len(text)


def _line_end(text: str, at: int) -> int:
    return text.find("\n", at) + 1 or len(text)
