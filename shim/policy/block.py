"""A managed part of a policy file: entries of `providers` and `models` between two marked lines.

What stands outside the marks is the user's and stays as it is; a name from there is not taken
again. Whether an edit did what it should is read back before anybody writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from .load import examine
from .read import Document, NotReadable

#: By section, by name, what an entry says: text, numbers, truth values.
Entries = Mapping[str, Mapping[str, Mapping[str, Any]]]
#: A line with its end, of whichever kind.
_LINE = re.compile(r"[^\r\n\x85\u2028\u2029]*(?:\r\n|[\r\n\x85\u2028\u2029]|\Z)")
_LINE_END = re.compile(r"[\r\n\x85\u2028\u2029]\Z")
_INDENT = 2


class BlockError(Exception):
    """Why a policy cannot be edited, in one sentence that names file and line."""


class Block:
    """The part of a policy that ``owner`` manages; ``made_by`` is the command that makes it."""

    def __init__(self, owner: str, made_by: str) -> None:
        self._begin = f"# {owner}: begin"
        self._end = f"# {owner}: end"
        self._note = f"{self._begin} (made by `{made_by}`, and made anew by it)"

    def strip(self, text: str, source: str) -> str:
        """``text`` without the managed part. BlockError when its marks do not match."""
        kept: list[str] = []
        begun = 0
        for number, line in enumerate(_lines(text), 1):
            words = line.strip()
            if words.startswith(self._begin):
                if begun:
                    raise BlockError(f"{source}:{begun}: this mark has no end; delete it by hand")
                begun = number
            elif words == self._end:
                if not begun:
                    raise BlockError(
                        f"{source}:{number}: this mark has no begin; delete it by hand"
                    )
                begun = 0
            elif not begun:
                kept.append(line)
        if begun:
            raise BlockError(f"{source}:{begun}: this mark has no end; delete it by hand")
        return "".join(kept)

    def entries(self, text: str, source: str) -> dict[str, dict[str, Any]]:
        """What the managed part holds, by section and name."""
        all_, own = _data(text, source), _data(self.strip(text, source), source)
        return {
            section: {n: e for n, e in all_[section].items() if n not in own.get(section, {})}
            for section in ("providers", "models")
            if isinstance(all_.get(section), dict)
        }

    def apply(self, text: str, entries: Entries, path: Path) -> str:
        """``text`` of the policy at ``path`` with ``entries`` as its managed part.

        BlockError when it cannot be done, or what comes out would not be a valid policy.
        """
        source = str(path)
        clean = self.strip(text, source)
        own = _data(clean, source)
        new = {
            section: {n: e for n, e in given.items() if n not in (own.get(section) or {})}
            for section, given in entries.items()
        }
        made = clean
        for section, given in new.items():
            if given:
                made = self._insert(made, section, given, section in own, source)
        wanted = dict(own)
        for section, given in new.items():
            if given:
                wanted[section] = {**(own.get(section) or {}), **given}
        # Read back: the user's own part is the same, and what is new is what was meant.
        try:
            good = _data(made, source) == wanted
        except BlockError:
            good = False
        if not good or self.strip(made, source).rstrip() != clean.rstrip():
            hint = "" if _LINE_END.search(clean) else "; end its last line with a line break"
            raise BlockError(f"{source}: no entry can be put behind its last one{hint}")
        if problems := examine(made, source, path.parent).problems:
            raise BlockError(f"it would be no valid policy: {problems[0]}")
        return made

    def _insert(
        self,
        text: str,
        section: str,
        entries: Mapping[str, Mapping[str, Any]],
        there: bool,
        source: str,
    ) -> str:
        lines = list(_lines(text))
        ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
        if lines and not _LINE_END.search(lines[-1]):
            lines[-1] += ending
            text += ending
        at, indent = _place(text, section, source) if there else (len(lines), _INDENT)
        rows = [f"{name}: {_flow(entry)}" for name, entry in entries.items()]
        block = [" " * indent + row + ending for row in (self._note, *rows, self._end)]
        if not there:
            # The section is ours, and goes with its entries.
            block.insert(1, f"{section}:{ending}")
            block[0], block[-1] = block[0].lstrip(), block[-1].lstrip()
        return "".join([*lines[:at], *block, *lines[at:]])


def _lines(text: str) -> Iterator[str]:
    return (line for line in _LINE.findall(text) if line)


def _data(text: str, source: str) -> dict[str, Any]:
    try:
        document = Document(text, source)
    except NotReadable as e:
        raise BlockError(str(e)) from None
    if document.problems:
        raise BlockError(str(document.problems[0]))
    if not isinstance(document.data, dict):
        raise BlockError(f"{source}:1:1: must be a mapping")
    return document.data


def _flow(entry: Mapping[str, Any]) -> str:
    """An entry on one line; JSON's values are YAML's, too."""
    return "{ " + ", ".join(f"{name}: {json.dumps(value)}" for name, value in entry.items()) + " }"


def _mark(mark: Any) -> yaml.Mark:
    """Where an event is; a parser that reads text always says so."""
    assert mark is not None
    found: yaml.Mark = mark
    return found


def _place(text: str, section: str, source: str) -> tuple[int, int]:
    """(number of lines in front, indent) of the place behind the last entry of ``section``."""
    depth, indent, last = 0, -1, -1
    flows: list[bool] = []
    key, is_key = "", True
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            if depth == 1 and key == section and isinstance(event, yaml.MappingStartEvent):
                if event.flow_style:
                    line = _mark(event.start_mark).line + 1
                    raise BlockError(
                        f"{source}:{line}: {section} stands in braces; give each entry a line"
                    )
                indent = _mark(event.start_mark).column
            depth += 1
            flows.append(bool(event.flow_style))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            # The end of a block is only seen at what follows it; that of braces is its own.
            if flows.pop() and indent >= 0:
                last = _mark(event.end_mark).line
            if depth == 1:
                if indent >= 0:
                    return last + 1, indent
                is_key = True
        elif isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
            if depth == 1:
                key = str(getattr(event, "value", "")) if is_key else key
                is_key = not is_key
            elif indent >= 0:
                # A text over several lines ends where the next thing begins.
                over = isinstance(event, yaml.ScalarEvent) and event.style in ("|", ">")
                last = _mark(event.end_mark).line - over
        elif isinstance(event, yaml.DocumentEndEvent):
            break
    raise BlockError(f"{source}: {section} holds no entry; take the line out, or write one")
