"""Why a text is no YAML, in plain words: tabs, indentation, colons, quotes.

The parser says where it stopped; what is wrong there shows in the line itself and in those above.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

from ..shown import plain

#: What ends a line for YAML.
_ENDS = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_VARIABLE = re.compile(r"\$\{[^{}]*\}?")
_VALUE = re.compile(r":(?:[ \t]|$)")
#: A line without a colon that cannot be a key of a provider.
_NAME = re.compile(r"[\s-]*[A-Za-z_]{0,20}\s*")
_LONGEST = 60


class _Place:
    """A place in the lines ``rows``: ``row`` is its line, ``line`` and ``column`` count from 0."""

    def __init__(self, rows: list[str], line: int, column: int) -> None:
        self.line = min(line, len(rows) - 1)
        self.column = column
        self.row = rows[self.line]
        self.rows = rows

    @property
    def indent(self) -> str:
        return self.row[: len(self.row) - len(self.row.lstrip(" \t"))]

    @property
    def above(self) -> list[_Place]:
        """The ends of the lines above that hold more than a comment."""
        rows = [
            (n, row.partition(" #")[0].rstrip()) for n, row in enumerate(self.rows[: self.line])
        ]
        lines = [(n, row) for n, row in rows if row and not row.lstrip().startswith("#")]
        return [_Place(self.rows, n, len(row)) for n, row in lines]


def explain(text: str, error: yaml.YAMLError) -> tuple[int, int, str]:
    """(line, column, sentence): where ``text`` stops to be YAML, both from 1, and why, with that
    line up to its first value, since a value may be a key."""
    marks = [getattr(error, name, None) for name in ("problem_mark", "context_mark")]
    stop = next(filter(None, marks), None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    if stop is None:
        return 1, 1, problem
    rows = _ENDS.split(text)
    at, begun = (_Place(rows, m.line, m.column) for m in (stop, marks[1] or stop))
    for pattern, check in _CHECKS:
        if re.search(pattern, problem) and (answer := check(at, begun)):
            return _with_line(*answer)
    return _with_line(at, problem)


def _with_line(at: _Place, why: str) -> tuple[int, int, str]:
    row = f": `{_shown(at.row)}`" if at.row.strip() else ""
    return at.line + 1, at.column + 1, why + row


_Told = tuple[_Place, str] | None


def _tab(at: _Place, begun: _Place) -> _Told:
    tab = at.indent.find("\t") if "\t" in at.indent else at.column
    if at.row[tab : tab + 1] != "\t":
        return None
    return _Place(at.rows, at.line, tab), "a tab (→) where YAML takes spaces only"


def _character(at: _Place, begun: _Place) -> _Told:
    character = at.row[at.column : at.column + 1]
    return (at, f"a value that begins with {character} is put in quotes") if character else None


def _indentation(at: _Place, begun: _Place) -> _Told:
    if at.column != len(at.indent):
        return None
    columns: list[int] = []
    entries: set[int] = set()
    for row in (place.row for place in at.above):
        column = len(row) - len(row.lstrip(" "))
        columns = [c for c in columns if c < column] + [column]
        if row[column:].startswith("- "):
            columns.append(len(row) - len(row[column + 1 :].lstrip(" ")))
            entries.add(column)
    if at.column in entries:
        return at, "wrong indentation: what belongs to an entry of a list begins behind its dash"
    if not columns or at.column in columns:
        return None
    *some, last = [str(column + 1) for column in columns]
    named = f"{', '.join(some)} or {last}" if some else last
    return at, (
        f"wrong indentation: the line begins in column {at.column + 1}, and those above it in "
        f"column {named}; what belongs together begins in the same column"
    )


def _colon(at: _Place, begun: _Place) -> _Told:
    if _VALUE.search(at.row[: at.column]):
        return at, "a value with a colon and a space in it is put in quotes"
    if not at.above:
        return None
    before = at.above[-1]
    if not _VALUE.search(before.row):
        return _key(at, before)
    if len(before.indent) < len(at.indent):
        return at, "wrong indentation: the line is indented below one that has a value already"
    return None


def _key(at: _Place, begun: _Place) -> _Told:
    missing = "a space behind its colon" if ":" in begun.row else "a colon behind its name"
    return begun, f"the line lacks {missing}"


def _braces(at: _Place, begun: _Place) -> _Told:
    variable = _VARIABLE.search(at.row, max(0, at.column - 2))
    if variable and variable.start() <= at.column <= variable.end():
        return at, f'between {{ and }} a variable is put in quotes: "{variable[0]}"'
    bracket = begun.row[begun.column : begun.column + 1]
    return (
        begun,
        f"the {bracket} in column {begun.column + 1} is not closed, or a comma is missing",
    )


def _quote(at: _Place, begun: _Place) -> _Told:
    quote = begun.row[begun.column : begun.column + 1]
    return (begun, f"the quote {quote} in column {begun.column + 1} is not closed")


def _alias(at: _Place, begun: _Place) -> _Told:
    return at, "a value that begins with * is put in quotes"


def _documents(at: _Place, begun: _Place) -> _Told:
    return at, "a policy is one document, without --- in it"


#: What the parser says, by either of PyYAML's two, and what it means.
_CHECKS: list[tuple[str, Callable[[_Place, _Place], Any]]] = [
    ("", _tab),
    ("cannot start any token", _character),
    (
        r"expected (key|'-' indicator|<block end>|'?<document start>)",
        _indentation,
    ),
    ("mapping values are not allowed", _colon),
    ("could not find expected ':'", _key),
    (r"expected ',' or", _braces),
    ("unexpected end of stream", _quote),
    ("undefined alias", _alias),
    ("found another document", _documents),
]


def _shown(row: str) -> str:
    """``row`` up to its first value; tabs as arrows."""
    name, colon, value = row.partition(":")
    if colon:
        name += f"{colon}{' ' if value[:1].isspace() else ''}…" if value.strip() else colon
    elif not _NAME.fullmatch(name):
        name = name[: len(name) - len(name.lstrip())] + "…"
    name = name.rstrip().replace("\t", "→")
    name = plain(name)
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
