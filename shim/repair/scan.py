"""Finds calls in one stream of text, given piece by piece.

Text flows on at once. From an opening on a candidate is held; where it closes, it is read and
checked, and what follows decides: other text on the same line means that it was only shown. So a
scanner is in one of three states: text flows, a candidate is held, or calls wait for what follows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from enum import Enum

import msgspec

from .checks import Checked, Refused
from .context import Context
from .dialects.base import Call, Dialect, More
from .forms import Forms, fence_end

#: At most this many characters are held.
MOST = 256 * 1024
#: So many candidates that were none, and the rest of the message is text.
_TRIES = 200
#: So many places where a call may not stand, likewise.
_LOOKS = 1000
#: A candidate that closes so often without being whole is none.
_READS = 64
#: So many characters are read in one message, the same ones each time anew.
_WORK = 4 * 1024 * 1024
#: How much of a candidate says which dialects it may be.
_HEAD = 400


_NEVER = re.compile(r"(?!)").search


class Found(msgspec.Struct, frozen=True):
    """Calls in the place of ``text``."""

    text: str
    dialect: str
    calls: list[Checked]


class Missed(msgspec.Struct, frozen=True):
    """What looked like a call and was none, and why."""

    text: str
    dialect: str
    why: str


Piece = str | Found
Check = Callable[[Iterable[Call]], list[Checked]]


class _State(Enum):
    FLOWS = 0
    HELD = 1
    WAITS = 2


class Scanner:
    """``check`` says which calls may be made; ``strictness`` is the policy's; ``ends``: calls count
    only where the text ends with them. ``missed`` hears of what was no call after all."""

    def __init__(
        self,
        forms: Forms,
        check: Check,
        strictness: str = "normal",
        *,
        ends: bool = False,
        missed: Callable[[Missed], None] | None = None,
    ) -> None:
        self._forms, self._check = forms, check
        self._loose = strictness == "loose"
        self._ends = ends or strictness == "strict"
        self._missed = missed
        self._context = Context(strictness)
        self._spark = forms.spark
        self._note = self._context.note
        self._calm = self._at_line = True
        self._state = _State.FLOWS
        self._buffer = ""
        self._pieces: list[str] = []
        self._size = self._reads = self._tries = self._looks = self._work = 0
        self._fence = -1
        self._dialects: list[Dialect] = []
        self._closes: re.Pattern[str] | None = None
        self._seen = 0
        self._group: list[Piece] = []
        self._must_end = False
        self._off = False
        self._out: list[Piece] = []

    @property
    def holds(self) -> bool:
        """Whether anything is held."""
        return bool(self._buffer or self._pieces or self._group)

    def plain(self, text: str) -> bool:
        """Whether ``text`` may pass as it is; then it counts as said."""
        if not self._calm:
            return False
        if self._at_line or self._spark(text):
            if not self._forms.quiet(text, self._at_line):
                return False
            self._context.add(text)
            self._at_line = self._context.at_line
            return True
        self._note(text)
        return True

    def pause(self, paused: bool) -> None:
        """While paused nothing is plain."""
        self._calm = not paused and self._state is _State.FLOWS and not self._buffer

    def feed(self, text: str) -> list[Piece]:
        """What leaves for a piece of text."""
        if self._off:
            return [text]
        if self._state is _State.HELD:
            self._pieces.append(text)
            self._size += len(text)
        else:
            self._buffer += text
        self._run(False)
        return self._take()

    def end(self, cut: bool = False) -> list[Piece]:
        """What leaves at the end; ``cut``: the text was cut off, so its last call is not whole."""
        self._run(True, cut)
        return self._take()

    def release(self) -> list[Piece]:
        """All that is held, as text; from now on everything is."""
        held = "".join(p if isinstance(p, str) else p.text for p in self._group)
        held += self._buffer + "".join(self._pieces)
        self._group, self._buffer, self._pieces = [], "", []
        self._state = _State.FLOWS
        self._turn_off()
        self._take()
        return [held] if held else []

    def _turn_off(self) -> None:
        self._off = True
        self._spark = _NEVER

    def _take(self) -> list[Piece]:
        out, self._out = self._out, []
        self._at_line = self._context.at_line and not self._off
        self.pause(False)
        return out

    def _say(self, text: str) -> None:
        if text:
            self._context.add(text)
            if self._out and isinstance(self._out[-1], str):
                self._out[-1] += text
            else:
                self._out.append(text)

    def _run(self, final: bool, cut: bool = False) -> None:
        going = True
        while going:
            if self._off:
                self._say("".join([self._buffer, *self._pieces]))
                self._buffer, self._pieces = "", []
                return
            if self._state is _State.FLOWS:
                going = self._flow(final)
            elif self._state is _State.HELD:
                going = self._hold(final, cut)
            else:
                going = self._wait(final)

    def _flow(self, final: bool) -> bool:
        """Say what is text; True where a candidate begins."""
        text, context = self._buffer, self._context
        while True:
            at = self._forms.find(text, context.at_line)
            if at < 0:
                keep = 0 if final else self._forms.held(text, context.at_line)
                self._say(text[: len(text) - keep])
                self._buffer = text[len(text) - keep :]
                return False
            self._say(text[:at])
            text = text[at:]
            if context.allows(self._forms.at_line_only(text)):
                self._begin(text)
                return True
            self._looks += 1
            if self._looks > _LOOKS:
                self._buffer = text
                self._turn_off()
                return True
            self._say(text[:1])
            text = text[1:]

    def _begin(self, text: str) -> None:
        self._state = _State.HELD
        self._buffer = ""
        self._pieces, self._size, self._reads, self._seen = [text], len(text), 0, 0
        self._fence = -1
        self._dialects = []

    def _hold(self, final: bool, cut: bool) -> bool:
        """Look at the candidate; True where something was decided."""
        if self._size > MOST:
            self._miss("it is over 256 KB", [])
            self._turn_off()
            self._state = _State.FLOWS
            self._flush_group()
            return True
        early = self._seen < _HEAD
        if early:
            text = self._whole()
            dialects = self._forms.alive(text[:_HEAD])
            if not dialects:
                return self._give_up("it does not go on as one")
            if dialects != self._dialects:
                self._dialects, self._closes = dialects, self._forms.closes(dialects)
        if self._closes is not None and self._closed(final):
            return True
        self._seen = self._size
        if self._over():
            return True
        if not final:
            return False
        text = self._whole()
        if cut:
            # Nor does anything count that stands in what was cut off.
            self._miss("it was cut off", [])
            self._flush_group()
            self._turn_off()
            return True
        self._work += len(text)
        reading = self._forms.read(text, self._dialects, True)
        if not reading:
            reading = self._forms.read(self._forms.without_left(text), self._dialects, True)
        return self._decide(text, "", reading)

    def _whole(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def _closed(self, final: bool) -> bool:
        """Whether the candidate has closed at a place not yet looked at, and was decided."""
        assert self._closes
        margin = self._forms.longest + 8
        if not final and len(self._pieces) > 1:
            # The new piece and the end of what was there are enough to see whether it may close.
            edge = "".join(self._pieces[-2:]) if len(self._pieces[-2]) >= margin else self._whole()
            if not self._closes.search(edge):
                return False
        text = self._whole()
        for match in self._closes.finditer(text, max(0, self._seen - margin)):
            if match.end() <= self._seen:
                continue
            self._reads += 1
            self._seen = match.end()
            self._work += match.end()
            if self._reads > _READS or self._work > _WORK:
                return self._give_up("it closes too often")
            reading = self._forms.read(text[: match.end()], self._dialects, False)
            if isinstance(reading, More):
                continue
            return self._decide(text[: match.end()], text[match.end() :], reading)
        return False

    def _over(self) -> bool:
        """Whether a candidate that must end the message is followed by other text; decided then."""
        if any(d.kind == "marked" for d in self._dialects) or self._reads > _READS:
            return False
        last = self._pieces[-1]
        if any(d.kind == "fenced" for d in self._dialects):
            if self._fence < 0 and "\n" in last:
                text = self._whole()
                line = text.rfind("\n", 0, len(text) - len(last))
                self._fence = fence_end(text, line)
            return self._fence >= 0 and self._fence_ends()
        if "\n" not in last and "}" not in last:
            return False
        text = self._whole()
        if text.startswith(("{", "[")):
            self._reads += 1
            try:
                _, end = json.JSONDecoder(strict=False).raw_decode(text)
            except (ValueError, RecursionError):
                return False
            rest = text[end:].lstrip(" \t\r\n;,")
            if rest and rest[0] not in "{[<":
                return self._give_up("other text follows it")
        return False

    def _fence_ends(self) -> bool:
        """The fence has ended: it says a call, if nothing else follows, or it does not."""
        text = self._whole()
        reading = self._forms.read(text[: self._fence], self._dialects, True)
        return self._decide(text[: self._fence], text[self._fence :], reading)

    def _decide(
        self, text: str, rest: str, reading: list[tuple[Dialect, list[Call]]] | More
    ) -> bool:
        """Make calls of ``text`` if it says any that may be made; else give it up."""
        why = "it says no call"
        for dialect, calls in [] if isinstance(reading, More) else reading:
            try:
                checked = self._check(calls)
            except Refused as e:
                why = str(e)
                continue
            self._group.append(Found(text, dialect.name, checked))
            self._must_end |= self._ends or dialect.kind != "marked"
            self._state, self._buffer, self._pieces = _State.WAITS, rest, []
            return True
        return self._give_up(why)

    def _miss(self, why: str, dialects: list[Dialect]) -> None:
        if self._missed:
            names = dialects or self._dialects
            self._missed(Missed(self._whole(), names[0].name if names else "", why))

    def _give_up(self, why: str) -> bool:
        """The candidate is text; what stands in it is looked at again."""
        self._miss(why, [])
        text = self._whole()
        self._flush_group()
        self._tries += 1
        if self._tries > _TRIES or self._work > _WORK:
            self._turn_off()
        self._say(text[:1])
        self._state, self._buffer, self._pieces = _State.FLOWS, text[1:], []
        return True

    def _wait(self, final: bool) -> bool:
        """Calls are there; what follows says whether they are made. True where that is decided."""
        text = self._buffer
        junk, rest = self._behind(text, 0)
        if "\n" in junk and not self._must_end:
            self._accept()
        if not rest or self._forms.may_be_left(rest):
            if final:
                self._accept()
                self._buffer, self._state = "", _State.FLOWS
            return False
        same_line = "\n" not in junk
        if self._forms.opens(rest):
            self._group.append(junk)
            self._begin(rest)
            return True
        if not final and self._forms.may_open(rest):
            return False
        self._group.append(junk)
        self._flush_group(same_line)
        self._state, self._buffer = _State.FLOWS, rest
        return True

    def _flush_group(self, same_line: bool | None = None) -> None:
        """Other text follows the calls in the group: make them, or say what they stand in."""
        if not self._group:
            return
        if same_line is None:
            last = self._group[-1]
            same_line = not (isinstance(last, str) and "\n" in last)
        if self._must_end or (same_line and not self._loose):
            for piece in self._group:
                if isinstance(piece, Found) and self._missed:
                    self._missed(Missed(piece.text, piece.dialect, "other text follows it"))
            self._say("".join(p if isinstance(p, str) else p.text for p in self._group))
            self._group, self._must_end = [], False
        else:
            tail = self._group[-1] if isinstance(self._group[-1], str) else ""
            self._accept()
            self._say(re.sub(r"<[^>]*>", "", tail) if not tail.isspace() else tail)

    def _behind(self, text: str, at: int) -> tuple[str, str]:
        """What behind ``at`` says nothing, and the rest."""
        match = self._forms.left.match(text, at)
        assert match
        return match[0], text[match.end() :]

    def _accept(self) -> None:
        """Make the calls of the group."""
        for piece in self._group:
            if isinstance(piece, Found):
                self._out.append(piece)
        self._group, self._must_end = [], False
