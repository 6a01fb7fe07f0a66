"""The dialects of a turn, compiled for a stream: where a call may open, what of a text's end may be
an opening, and how a candidate is read."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from .dialects import DIALECTS
from .dialects.bare import CALL_FENCES, CLINE, fence_of
from .dialects.base import MORE, Call, Dialect, More

#: Openings that are everyday text elsewhere than at the beginning of a line.
_AT_LINE = ("{", "[", "```", "~~~", ">>>", "*** Begin Patch", "$ apply_patch <<")
#: Tokens and tags that may be left behind a call: they say nothing.
_LEFT = (
    *(f"</{w}>" for w in ("invoke", "parameter", "function", "think", "response", "s", "call")),
    *(f"<|{w}|>" for w in ("im_end", "eot_id", "eom_id", "end", "return", "end_of_text")),
    *("<｜end▁of▁sentence｜>", "<｜tool_call_end｜>", "<|content_model_end_sampling|>"),
)
_FENCE_END = re.compile(r"\n {0,3}(?:`{3,}|~{3,})[ \t]*(?=\r?\n)")


def _choice(words: list[str]) -> str:
    """A pattern for any of ``words``, the longest first, which looks at no character twice."""
    tree: dict[str, Any] = {}
    for word in words:
        at = tree
        for letter in word:
            at = at.setdefault(letter, {})
        at[""] = {}
    return f"(?:{_branches(tree)})" if words else r"(?!)"


def _branches(tree: dict[str, Any]) -> str:
    if not any(tree):
        return ""
    parts = [re.escape(letter) + _branches(tree[letter]) for letter in tree if letter]
    if "" in tree:
        return f"(?:{'|'.join(parts)})?"
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


class Forms:
    """What is looked for. ``tags`` are the tools' names that may be tags."""

    def __init__(self, names: tuple[str, ...], tags: tuple[str, ...]) -> None:
        self._dialects = [DIALECTS[name] for name in DIALECTS if name in names]
        self._openings = [(d, d.openings) for d in self._dialects]
        self._closes = {d.name: d.closes for d in self._dialects}
        if CLINE.name in names:
            self._openings += [(CLINE, tuple(f"<{tag}>" for tag in tags))]
            self._closes[CLINE.name] += tuple(f"</{tag}>" for tag in tags)
        words = {o for _, openings in self._openings for o in openings}
        self._line = [w for w in words if w[0].isalpha() or w in _AT_LINE]
        self._any = [w for w in words if w not in self._line]
        self.longest = max(map(len, words), default=0)
        self._line_begins = {w[:at] for w in self._line for at in range(1, len(w))}
        self._begins = {w[:at] for w in self._any for at in range(1, len(w))}
        # Apart, since each is then found by its first characters.
        self._anywhere = re.compile(_choice(self._any)).search
        self._lines = re.compile(rf"\n {{0,3}}(?:{_choice(self._line)})").search
        self._begin = re.compile(rf" {{0,3}}(?:{_choice(self._line)})").match
        self._left = sorted({*_LEFT, *(c for closes in self._closes.values() for c in closes)})
        self.left = re.compile(rf"(?:\s|{_choice(self._left)})*")
        first = "".join(sorted({re.escape(w[0]) for w in self._any}))
        self._first = re.compile(f"[{first}]" if first else "(?!)")
        #: Text without one of these needs no second look, unless a line begins with it.
        self.spark = re.compile(rf"[{first}\n]").search if words else re.compile(r"(?!)").search

    def find(self, text: str, at_line: bool) -> int:
        """Where the first opening in ``text`` begins; -1 where there is none."""
        if at_line and (match := self._begin(text)):
            return len(match[0]) - len(match[0].lstrip(" "))
        anywhere, line = self._anywhere(text), self._lines(text)
        at = anywhere.start() if anywhere else -1
        if line:
            behind = line.start() + len(line[0]) - len(line[0].lstrip("\n "))
            at = behind if at < 0 else min(at, behind)
        return at

    def opens(self, text: str) -> bool:
        """Whether ``text`` begins with an opening."""
        return any(text.startswith(w) for w in (*self._any, *self._line))

    def may_open(self, text: str) -> bool:
        """Whether ``text`` may become an opening."""
        return any(w.startswith(text) for w in (*self._any, *self._line))

    def may_be_left(self, text: str) -> bool:
        """Whether ``text`` may become a token that says nothing."""
        return any(w.startswith(text) for w in self._left)

    def without_left(self, text: str) -> str:
        """``text`` without the tokens at its end that say nothing."""
        while True:
            text = text.rstrip()
            word = next((w for w in self._left if text.endswith(w)), None)
            if word is None:
                return text
            text = text[: -len(word)]

    def at_line_only(self, text: str) -> bool:
        """Whether the opening that ``text`` begins with counts at the beginning of a line only."""
        return not any(map(text.startswith, self._any))

    def held(self, text: str, at_line: bool) -> int:
        """How much of the end of ``text`` may be the beginning of an opening."""
        size = len(text)
        line = text.rfind("\n", max(0, size - self.longest - 4)) + 1
        if line or at_line:
            bare = text[line:].lstrip(" ")
            if bare in self._line_begins:
                return len(bare)
        for match in self._first.finditer(text, max(0, size - self.longest)):
            if text[match.start() :] in self._begins:
                return size - match.start()
        return 0

    def quiet(self, text: str, at_line: bool) -> bool:
        """Whether ``text`` holds no opening and no beginning of one."""
        if (at_line and self._begin(text)) or self._anywhere(text) or self._lines(text):
            return False
        return not self.held(text, at_line)

    def alive(self, text: str) -> list[Dialect]:
        """The dialects that a candidate beginning so may still be."""
        found = []
        for dialect, openings in self._openings:
            if any(text.startswith(o) for o in openings):
                if dialect.alive is None or dialect.alive(text):
                    found.append(dialect)
            elif any(o.startswith(text) for o in openings):
                found.append(dialect)
        if text.startswith(("```", "~~~")):
            fence = re.match(r"[`~]+[ \t]*([\w+-]*)[ \t]*\r?\n\s*(.+)", text, re.S)
            if (
                fence
                and fence[1] in CALL_FENCES
                and (self.may_open(fence[2]) or self.opens(fence[2]))
            ):
                found += [d for d in self._dialects if d.kind == "fenced"]
        return list(dict.fromkeys(found))

    def closes(self, dialects: list[Dialect]) -> re.Pattern[str] | None:
        """What finds the places where a candidate may end; None where only the message's end is."""
        marked = [c for d in dialects if d.kind == "marked" for c in self._closes[d.name]]
        return _compiled(tuple(dict.fromkeys(marked))) if marked else None

    def read(
        self, text: str, dialects: list[Dialect], last: bool
    ) -> list[tuple[Dialect, list[Call]]] | More:
        """What a candidate says in each dialect that can read it."""
        found: list[tuple[Dialect, list[Call]]] = []
        more = False
        for dialect in dialects:
            if dialect.kind != "marked" and not last:
                more = True
                continue
            reading = dialect.read(text, last)
            if isinstance(reading, More):
                more = True
            elif reading:
                found.append((dialect, reading))
        fence = fence_of(text) if last and not found else None
        if fence and fence[0] in CALL_FENCES:
            body = fence[1].strip()
            inside = [d for d in self.alive(body) if d.kind != "fenced"]
            for dialect in inside:
                reading = dialect.read(body, True)
                if reading and not isinstance(reading, More):
                    found.append((_as_fenced(dialect), reading))
        return MORE if more and not found else found


def _as_fenced(dialect: Dialect) -> Dialect:
    from dataclasses import replace

    return replace(dialect, kind="fenced")


def fence_end(text: str, after: int) -> int:
    """Where a fence ends, looked for behind ``after``; -1 where it goes on."""
    end = _FENCE_END.search(text, max(3, after))
    return end.end() if end else -1


@lru_cache(64)
def _compiled(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(_choice(list(words)))


@lru_cache(64)
def forms(names: tuple[str, ...], tags: tuple[str, ...]) -> Forms:
    """The compiled forms; a session asks for the same ones each turn."""
    return Forms(names, tags)
