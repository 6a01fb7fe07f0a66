"""Dedup: a run of lines that stands verbatim earlier in the prompt becomes a line that says where.

Lossless (but for ``blobs_over``), causal, linear. A reference points to lines that are there as
they were sent, never to another reference, and only back; so `references.expand` gets the prompt
back exactly. A line of a text that looks like a reference is sent with a backslash before it.

Strategy: every line sent is in one list, and a table leads from its text to where it stands (the
latest text that has it, the first place in that text). A line that is in the table is a seed: the
run around it is found by comparing slices of the two lists.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

from ..policy.match import fits
from ..policy.rules import Dedup as Rules
from ..policy.units import size
from .pieces import Piece
from .references import BEGIN, LIKE_ONE, Names, fields, is_call, quoted, unwrapped

_PATCH = "*** Begin Patch"
#: Shorter lines stand everywhere: no run begins to be looked for at one.
_SEED = 6
_ANCHOR = 32
#: So many runs that do not pay are looked at in a text, and one more for every so many lines.
_TRIES, _LINES_PER_TRY = 8, 32
#: Lines shorter than this on an average are no text to be looked through.
_THIN = 6
#: The first line of a run, the one behind it, and the line that stands for it.
Run = tuple[int, int, str]


class Lines:
    """The lines of one prompt as they were sent; None where one cannot be referred to."""

    def __init__(self) -> None:
        self.all: list[str | None] = []
        self.at: dict[str | None, int] = {}
        self.long = 0
        self._starts: list[int] = []
        self._before: list[int] = []
        self._names: list[tuple[str, str]] = []
        #: Per text with references: where a stretch of lines begins, and its number as sent.
        self._shifts: dict[int, list[tuple[int, int]]] = {}

    def begin(self, name: str, end: str = "") -> None:
        """A text called ``name`` begins here; ``end`` is what is said of its lines."""
        self._starts.append(len(self.all))
        self._before.append(self.long)
        self._names.append((name, end))

    def add(self, lines: Sequence[str | None]) -> None:
        """All of a text that is sent as it is."""
        base = len(self.all)
        # Backwards: of equal lines the first counts.
        self.at.update(zip(lines[::-1], range(base + len(lines) - 1, base - 1, -1), strict=True))
        self.at.pop(None, None)
        self.all += lines
        self.all.append(None)

    def oldest(self, within: int) -> int:
        """The first line of the texts that begin within so many characters back."""
        first = bisect_left(self._before, self.long - within)
        return self._starts[first] if first < len(self._starts) else len(self.all)

    def shift(self, shifts: list[tuple[int, int]]) -> None:
        """How the lines of the text begun last are numbered as sent."""
        self._shifts[len(self._starts) - 1] = shifts

    def where(self, at: int, count: int) -> str:
        """How ``count`` lines from ``at`` on are referred to."""
        text = bisect_right(self._starts, at) - 1
        line = at - self._starts[text] + 1
        if shifts := self._shifts.get(text):
            start, number = shifts[bisect_right(shifts, (at, 1 << 62)) - 1]
            line = number + at - start
        name, end = self._names[text]
        return f"{line}-{line + count - 1} of {name}{end}"


class Dedup:
    """One prompt's texts, fed in order. ``runs``, ``lines`` and ``saved`` (characters) count what
    was left out. Unless ``still``, what users say may be sent otherwise the next time."""

    def __init__(self, rules: Rules, *, still: bool = True) -> None:
        self.runs = self.lines = self.saved = 0
        self._least_lines = rules.min_lines
        self._least = size(rules.min_bytes)
        self._verbatim = size(rules.keep_verbatim_below)
        self._within = None if rules.within is None else size(rules.within)
        self._roles = frozenset(rules.roles)
        self._tools = rules.tools
        self._still = still
        self._blobs = None
        if rules.blobs_over is not None:
            self._blobs = blob_pattern(size(rules.blobs_over))
        self._names = Names()
        self._sent = Lines()

    def feed(self, pieces: Iterable[Piece]) -> bool:
        """The texts of the next element; those with repetitions are changed. Whether any was."""
        changed = False
        for piece in pieces:
            name = self._names.name(piece)
            if is_call(piece):
                self._called(name, piece.text)
            elif not self._still and piece.role == "user" and piece.item == "message":
                continue
            elif piece.role in self._roles and fits_tool(self._tools, piece):
                before = piece.text
                if self._blobs and piece.role == "tool":
                    piece.text = self._blobs.sub(_blob, before)
                piece.text = self._reduced(name, piece.text)
                if piece.text is not before:
                    changed = True
                    self.saved += len(before) - len(piece.text)
            else:
                self._sent.begin(name)
                self._sent.add(piece.text.split("\n"))
        return changed

    def note(self) -> str:
        """What was done so far."""
        times = "run" if self.runs == 1 else "runs"
        return (
            f"{self.runs} {times} of {self.lines:,} lines in all stand earlier in the prompt: "
            f"{self.saved:,} characters less"
        )

    def _called(self, name: str, given: str) -> None:
        if len(given) < self._least:
            return
        for field, text in fields(given):
            where = f"{name} {field}" if field else name
            lines: list[str | None] = list(text.split("\n"))
            if _PATCH in text:
                self._sent.begin(where, ", without the +")
                lines = [line[1:] if line and line[0] == "+" else None for line in lines]
            else:
                self._sent.begin(where)
            self._sent.add(lines)

    def _reduced(self, name: str, text: str) -> str:
        whole = unwrapped(text)
        if whole:
            head, inner, end = whole
            return f"{head}{quoted(self._reduced_plain(name, inner))}{end}"
        return self._reduced_plain(name, text)

    def _reduced_plain(self, name: str, text: str) -> str:
        lines: list[str] = text.split("\n")
        sent = self._sent
        sent.begin(name)
        sent.long += len(text)
        # One rare character is looked for far faster than all of them.
        if "^" in text and BEGIN in text:
            return self._with_escapes(lines)
        if len(lines) * _THIN > len(text) + _THIN:
            # Hardly a text: so many lines cost more than can be had.
            sent.all.append(None)
            return text
        base = len(sent.all)
        hits = list(map(sent.at.setdefault, lines, range(base, base + len(lines))))
        known = [n for n, at in enumerate(hits) if at < base] if min(hits) < base else []
        runs: list[Run] = []
        if known and len(text) >= max(self._least, self._verbatim):
            runs = list(self._runs(lines, hits, known))
        made = self._replaced(lines, runs, base) if runs else None
        self._keep(lines, known, runs, base)
        return text if made is None else "\n".join(made)

    def _with_escapes(self, lines: list[str]) -> str:
        """A text that speaks of references is sent whole."""
        self._sent.add(lines)
        made = ["\\" + line if LIKE_ONE.match(line) else line for line in lines]
        return "\n".join(made)

    def _runs(self, lines: list[str], hits: list[int], known: list[int]) -> Iterator[Run]:
        """The runs that stand earlier, in order."""
        sent = self._sent
        source, count = sent.all, len(lines)
        done, failed, failed_on = 0, 0, 0
        oldest = 0 if self._within is None else sent.oldest(self._within)
        tries = _TRIES + count // _LINES_PER_TRY
        n, end = 0, len(known)
        while n < end:
            seed = known[n]
            n += 1
            at = hits[seed]
            offset = at - seed
            if len(lines[seed]) < _SEED or at < oldest or (seed < failed and offset == failed_on):
                continue
            after = seed + 1 < count and lines[seed + 1] == source[at + 1]
            before = seed > done and lines[seed - 1] == source[at - 1]
            if not (before or after) and self._least_lines > 1:
                continue
            first = seed
            while first > done and source[offset + first - 1] == lines[first - 1]:
                first -= 1
            behind = seed + (same(lines, seed, source, at) if after else 1)
            failed, failed_on = behind, offset
            # A run neither begins nor ends with blank lines.
            while first < behind and not lines[first].strip():
                first += 1
            while behind > first and not lines[behind - 1].strip():
                behind -= 1
            if reference := self._reference(lines, first, behind, first + offset):
                yield first, behind, reference
                done = behind
                n = bisect_left(known, behind, n)
            elif tries:
                tries -= 1
            else:
                return

    def _reference(self, lines: list[str], first: int, behind: int, at: int) -> str | None:
        """What stands for a run; None where that does not pay."""
        if behind - first < self._least_lines:
            return None
        long = sum(map(len, lines[first:behind])) + behind - first
        if long <= self._least:
            return None
        anchor = lines[first].strip()
        anchor = anchor if len(anchor) <= _ANCHOR else f"{anchor[: _ANCHOR - 1]}…"
        made = f"{BEGIN}{self._sent.where(at, behind - first)}: {anchor}]"
        return made if len(made) < long else None

    def _replaced(self, lines: list[str], runs: list[Run], base: int) -> list[str]:
        made: list[str] = []
        shifts: list[tuple[int, int]] = []
        done = 0
        for first, behind, reference in runs:
            shifts.append((base + done, len(made) + 1))
            made += lines[done:first]
            made.append(reference)
            self.runs += 1
            self.lines += behind - first
            done = behind
        shifts.append((base + done, len(made) + 1))
        made += lines[done:]
        self._sent.shift(shifts)
        return made

    def _keep(self, lines: list[str], known: list[int], runs: list[Run], base: int) -> None:
        """Note where the lines stand that were sent."""
        sent = self._sent
        sent.all += lines
        sent.all.append(None)
        for first, behind, _ in runs:
            sent.all[base + first : base + behind] = [None] * (behind - first)
        # What stood elsewhere too is looked for here from now on.
        at, n, end = sent.at, 0, len(known)
        for first, behind in [*((run[0], run[1]) for run in runs), (len(lines), 0)]:
            while n < end and known[n] < first:
                line = lines[known[n]]
                if at[line] < base:
                    at[line] = base + known[n]
                n += 1
            n = bisect_left(known, behind, n)


def same(lines: list[str], first: int, source: list[str | None], at: int) -> int:
    """How many lines are the same in both from there on."""
    count, step, most = 0, 8, len(lines) - first
    while count < most:
        take = min(step, most - count)
        ours = lines[first + count : first + count + take]
        if ours != source[at + count : at + count + take]:
            break
        count += take
        step *= 2
    # The list's text ends with None, so this stops in time.
    while count < most and lines[first + count] == source[at + count]:
        count += 1
    return count


def fits_tool(tools: str | list[str] | None, piece: Piece) -> bool:
    """Whether a text is one of those tools' output, or none's."""
    return tools is None or piece.item == "message" or fits(tools, piece.tool)


def blob_pattern(least: int) -> re.Pattern[str]:
    """Base64 data of at least so many characters."""
    return re.compile(rf"[A-Za-z0-9+/]{{{max(64, least)},}}={{0,2}}")


def _blob(match: re.Match[str]) -> str:
    mark = hashlib.sha256(match[0].encode()).hexdigest()[:16]
    return f"[blob sha256:{mark} {len(match[0])} bytes]"
