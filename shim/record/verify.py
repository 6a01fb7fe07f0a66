"""Checks a journal against its own hashes, and against heads that were kept elsewhere.

What it cannot find: events cut off at the end of the newest segments, and a journal rewritten as a
whole. Both need a head from before.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator

import msgspec

from .events import CLOSED, DROPPED, End, Event, Opening, link, root


class Checked(msgspec.Struct):
    """What was looked at, and what is wrong: a sentence each, which begins with the place."""

    segments: int = 0
    events: int = 0
    dropped: int = 0
    problems: list[str] = []


def verify(file: sqlite3.Connection, heads: Iterable[str] = ()) -> Checked:
    """Look at every event and every segment. sqlite3.Error when the file is no journal."""
    file.execute("BEGIN")
    try:
        return _Check(file).run(list(heads))
    finally:
        file.execute("ROLLBACK")


class _Check:
    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file
        self._found = Checked()
        #: The ends that something in the journal speaks of, and who does.
        self._told: list[tuple[End, str]] = []
        self._dropped: dict[str, End] = {}
        self._numbers: dict[str, list[int]] = {}

    def run(self, heads: list[str]) -> Checked:
        rows = self._file.execute(
            "SELECT id, process, number, opening, root FROM segment ORDER BY rowid"
        ).fetchall()
        found = self._found
        found.segments = len(rows)
        for id, process, number, opening, first in rows:
            found.problems += self._opening(id, process, number, opening, first)
            found.problems += self._events(id, first)
        found.problems += self._strays()
        found.problems += self._numbers_missing()
        for end, who in self._told:
            found.problems += self._known(end, who)
        for head in heads:
            found.problems += self._head(head)
        found.dropped = len(self._dropped)
        return found

    def _opening(self, id: str, process: str, number: int, text: str, first: str) -> Iterator[str]:
        self._numbers.setdefault(process, []).append(number)
        if root(text) != first:
            yield f"{id}: its opening was changed"
        try:
            opening = msgspec.json.decode(text, type=Opening)
        except msgspec.DecodeError:
            yield f"{id}: its opening cannot be read"
            return
        if (opening.process, opening.number) != (process, number) or id != f"{process}.{number}":
            yield f"{id}: stands under another name than it was opened with"
        self._told += [(end, f"{id}, when it was opened") for end in opening.seen]

    def _events(self, id: str, before: str) -> Iterator[str]:
        rows = self._file.execute(
            "SELECT n, kind, at, subject, data, hash FROM event WHERE segment = ? ORDER BY n", (id,)
        )
        due = 1
        for n, kind, at, subject, data, hash in rows:
            self._found.events += 1
            event = Event(kind, at, subject, data)
            name = f"{id}#{n} ({describe(event)})"
            if n > due:
                gone = f"event {due} is" if n == due + 1 else f"events {due} to {n - 1} are"
                yield f"{id}#{due}: {gone} missing before {name}"
            elif n < due or not _matches(before, id, n, event, hash):
                yield f"{name}: does not match its hash; it was changed, moved or put in"
            due, before = n + 1, hash
            if kind in (CLOSED, DROPPED):
                yield from self._about_segment(name, event)

    def _about_segment(self, name: str, event: Event) -> Iterator[str]:
        try:
            said = msgspec.json.decode(event.data)
            end = End(event.subject, int(said["events"]), str(said["head"]))
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            yield f"{name}: cannot be read"
            return
        if event.kind == CLOSED:
            self._told.append((end, name))
            return
        self._dropped[event.subject] = end
        process, _, number = event.subject.rpartition(".")
        self._numbers.setdefault(process, []).append(int(number) if number.isdigit() else 0)

    def _strays(self) -> Iterator[str]:
        rows = self._file.execute(
            "SELECT segment, count(*) FROM event WHERE segment NOT IN (SELECT id FROM segment) "
            "GROUP BY segment"
        )
        for id, count in rows:
            yield f"{id}: the segment is missing, though {count} of its events are there"

    def _numbers_missing(self) -> Iterator[str]:
        for process, numbers in self._numbers.items():
            for number in sorted(set(range(1, max(numbers) + 1)) - set(numbers)):
                yield f"{process}.{number}: the segment is missing"

    def _known(self, end: End, who: str) -> Iterator[str]:
        """What is wrong about an end that ``who`` speaks of."""
        if (found := self._at(end)) is None:
            if (dropped := self._dropped.get(end.segment)) is None:
                yield f"{end.segment}: the segment is missing; {who}, it had {_count(end.n)}"
            elif dropped.n < end.n or (dropped.n == end.n and dropped.hash != end.hash):
                yield f"{end.segment}: it was dropped as another than {who} saw"
        elif not found:
            name = f"{end.segment}#{end.n}"
            yield f"{name}: the event is missing; {who}, the segment had {_count(end.n)}"
        elif found != end.hash:
            yield f"{end.segment}#{end.n}: is not what it was for {who}"

    def _at(self, end: End) -> str | None:
        """The hash at that place today, empty for none; None when there is no such segment."""
        segment = self._file.execute("SELECT root FROM segment WHERE id = ?", (end.segment,))
        if (row := segment.fetchone()) is None:
            return None
        if end.n == 0:
            return str(row[0])
        hash = "SELECT hash FROM event WHERE segment = ? AND n = ?"
        found = self._file.execute(hash, (end.segment, end.n)).fetchone()
        return str(found[0]) if found else ""

    def _head(self, head: str) -> Iterator[str]:
        for part in head.split(","):
            segment, _, rest = part.strip().partition(":")
            number, _, hash = rest.partition(":")
            if not number.isdigit() or len(hash) != 64:
                yield f"{part!r}: is no head; `interpose audit head` prints them"
                continue
            yield from self._known(End(segment, int(number), hash), "by the head given")


def describe(event: Event) -> str:
    """An event in a few words."""
    try:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(event.at))
    except (OverflowError, TypeError, ValueError, OSError):
        when = str(event.at)
    return f"{event.kind} of {event.subject or 'events'}, {when} UTC"


def _matches(before: str, id: str, n: int, event: Event, hash: str) -> bool:
    try:
        return link(before, id, n, event) == hash
    except (TypeError, ValueError, OverflowError, msgspec.ValidationError):
        return False


def _count(n: int) -> str:
    return "one event" if n == 1 else f"{n} events"
