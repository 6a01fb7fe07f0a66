"""The dialects of a turn, compiled for a stream: where a call may open, what of a text's end may be
an opening, and how a candidate is read."""

from __future__ import annotations

import re
from functools import lru_cache

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
_FENCE_END = re.compile(r"\n {0,3}(?:`{3,}|~{3,})[ \t]*(?=\n|$)")


def _choice(words: list[str]) -> str:
    return "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True)) or r"(?!)"


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
        self._by_first: dict[str, list[str]] = {}
        for word in self._any:
            self._by_first.setdefault(word[0], []).append(word)
        line, anywhere = _choice(self._line), _choice(self._any)
        self._inside = re.compile(rf"{anywhere}|(?<=\n)(?: {{0,3}})(?:{line})")
        self._begin = re.compile(rf"{anywhere}|(?:(?<=\n)|\A)(?: {{0,3}})(?:{line})")
        self._left = sorted({*_LEFT, *(c for closes in self._closes.values() for c in closes)})
        self.left = re.compile(rf"(?:\s|{_choice(self._left)})*")
        first = "".join(sorted({re.escape(w[0]) for w in self._any}))
        #: Text without one of these needs no second look, unless a line begins with it.
        self.spark = re.compile(rf"[{first}\n]").search if words else re.compile(r"(?!)").search

    def find(self, text: str, at_line: bool) -> int:
        """Where the first opening in ``text`` begins; -1 where there is none."""
        match = (self._begin if at_line else self._inside).search(text)
        return match.start() + len(match[0]) - len(match[0].lstrip(" ")) if match else -1

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
            if bare and any(w.startswith(bare) for w in self._line):
                return len(bare)
        for at in range(max(0, size - self.longest), size):
            if words := self._by_first.get(text[at]):
                part = text[at:]
                if any(w.startswith(part) for w in words):
                    return size - at
        return 0

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
