"""YAML to plain data, with the place of every field: line and column, both from 1.

A policy may come from anywhere, so what blows up is stopped: aliases that multiply, deep nesting,
files of many megabytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml

from .syntax import explain

Where = tuple[str | int, ...]
#: libyaml, where it is there, is ten times faster.
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LARGEST = 4 << 20
_DEEPEST = 24
_MOST_NODES = 200_000
_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with a policy, and where."""

    file: str
    line: int
    column: int
    field: str
    message: str

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        return f"{self.file}:{self.line}:{self.column}: {field}{self.message}"


class NotReadable(Exception):
    """A file is no YAML at all, or refuses to be read; ``problem`` says where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Document:
    """What a YAML text says. ``problems`` are what it says twice, and the like."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._places: dict[Where, tuple[int, int]] = {}
        self._nodes = 0
        if len(text) > _LARGEST:
            raise self._unreadable(1, 1, f"is larger than {_LARGEST >> 20} MB: that is no policy")
        try:
            self._refuse_depth(text)
            node = yaml.compose(text, Loader=_Loader)
        except yaml.YAMLError as e:
            line, column, why = explain(text, e)
            raise self._unreadable(line, column, f"not valid YAML: {why}") from None
        except (RecursionError, ValueError) as e:
            said = "is nested too deeply" if isinstance(e, RecursionError) else str(e)
            raise self._unreadable(1, 1, f"not valid YAML: {said}") from None
        self.data: Any = {} if node is None else self._value(node, (), ())

    def problem(self, where: Where, message: str) -> Problem:
        """A problem at the field ``where``, or at the nearest one around it that is there."""
        at = where
        while at and at not in self._places:
            at = at[:-1]
        line, column = self._places.get(at, (1, 1))
        return Problem(self.source, line, column, dotted(where), message)

    def _unreadable(self, line: int, column: int, message: str) -> NotReadable:
        return NotReadable(Problem(self.source, line, column, "", message))

    def _refuse_depth(self, text: str) -> None:
        """What is nested without end would end the process before anybody could complain."""
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > _DEEPEST:
                    mark = event.start_mark
                    place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
                    raise self._unreadable(*place, "is nested too deeply")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1

    def _value(self, node: yaml.Node, where: Where, inside: tuple[int, ...]) -> Any:
        mark = node.start_mark
        self._places.setdefault(where, (mark.line + 1, mark.column + 1))
        self._nodes += 1
        place = self._places[where]
        if self._nodes > _MOST_NODES:
            raise self._unreadable(*place, "its aliases multiply without end")
        if id(node) in inside:
            raise self._unreadable(*place, "an alias that holds itself")
        if len(where) > _DEEPEST:
            raise self._unreadable(*place, "is nested too deeply")
        within = (*inside, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where, within)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(n, (*where, i), within) for i, n in enumerate(node.value)]
        return self._scalar(node, where)

    def _mapping(self, node: yaml.MappingNode, where: Where, inside: tuple[int, ...]) -> Any:
        out: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = key_node.start_mark
            if key_node.tag == _MERGE:
                found = self._value(value_node, (*where, "<<"), inside)
                for more in reversed(found if isinstance(found, list) else [found]):
                    if not isinstance(more, dict):
                        self.problems.append(self.problem((*where, "<<"), "must name a mapping"))
                    else:
                        merged |= more
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                place = (mark.line + 1, mark.column + 1)
                raise self._unreadable(
                    *place, "a name must be plain text; a value with { in it is put in quotes"
                )
            # A name is taken as it is written: 2024 and yes are names too.
            key = str(key_node.value)
            here = (*where, key)
            again = here in self._places and key in out
            self._places[here] = (mark.line + 1, mark.column + 1)
            if again:
                self.problems.append(self.problem(here, "stands here twice"))
            out[key] = self._value(value_node, here, inside)
        return {**merged, **out}

    def _scalar(self, node: yaml.Node, where: Where) -> Any:
        loader = yaml.SafeLoader("")
        try:
            value = loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, OverflowError) as e:
            said = str(getattr(e, "problem", None) or e).splitlines()[0]
            self.problems.append(self.problem(where, f"not a value that can be read: {said}"))
            return None
        finally:
            loader.dispose()
        if value is None or isinstance(value, str | bool | int | float):
            return value
        # A date, say: what is meant is how it is written.
        return str(node.value)


def dotted(where: Where) -> str:
    """A field's place as people write it: ``catch[0].when.role``."""
    out = ""
    for part in where:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out


def read(path: Path) -> str:
    """The text of the file at ``path``. NotReadable when it cannot be had."""
    try:
        if path.stat().st_size > _LARGEST:
            said = f"is larger than {_LARGEST >> 20} MB: that is no policy"
            raise NotReadable(Problem(str(path), 1, 1, "", said))
        return path.read_text(encoding="utf-8-sig")
    except OSError as e:
        raise NotReadable(
            Problem(str(path), 1, 1, "", f"cannot be read: {e.strerror or e}")
        ) from None
    except UnicodeDecodeError as e:
        said = f"is not UTF-8 text ({e.reason} at byte {e.start})"
        raise NotReadable(Problem(str(path), 1, 1, "", said)) from None
