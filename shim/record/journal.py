"""The journal: what happened to each exchange, appended to SQLite and never changed afterwards.

Each process has hash chains of its own, a segment after the other, so that several share a file
without waiting for each other's hashes. Segments see each other's ends when they open: what is
behind an end cannot be changed or left out without its being found (`verify`).
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from ..system import private_folder
from . import processes
from .events import CLOSED, END, LOST, SCHEMA, START, VIEW, End, Event, Opening, link, root
from .retire import retire

NAME = "journal.db"
MOST_EVENTS = 10_000
_MOST_WAITING = 10_000
#: Seconds between the two clocks from which on the wall clock has been set, not just corrected.
_JUMP = 3600.0


class _At(msgspec.Struct, frozen=True):
    """The segment that is written to, how far it has come, and the day it is for.

    One that is not ``open`` has been closed, or its file is gone: another must follow.
    """

    number: int
    end: End
    day: int
    open: bool = True


class Journal:
    """Appends to the file ``path``. ``pids`` are the processes whose end ends what is open here.

    ``keep`` days after its last event a segment is dropped; 0: never. ``clock`` tells seconds
    since 1970, ``steady`` seconds that nobody sets. Any thread may call.
    """

    def __init__(
        self,
        path: Path,
        pids: Sequence[int] = (),
        keep: float = 0,
        *,
        most: int = MOST_EVENTS,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
    ) -> None:
        self._path = path
        self._who = processes.describe(pids or (os.getpid(),))
        self._keep, self._most = keep, most
        self._clock, self._steady = clock, steady or _steady
        self._offset = clock() - self._steady()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(clock()))
        self.process = f"{stamp}-{(pids or (os.getpid(),))[0]}-{secrets.token_hex(3)}"
        self._at: _At | None = None
        self._waiting: deque[Event] = deque()
        self._left_out = 0
        self._open: set[str] = set()
        self._file: tuple[sqlite3.Connection, tuple[int, int]] | None = None
        self._buried = False
        self._lock = threading.Lock()

    def add(self, events: Iterable[Event]) -> str | None:
        """Append ``events``; why they are not in the file yet. They then come with the next."""
        with self._lock:
            self._waiting.extend(events)
            while len(self._waiting) > _MOST_WAITING:
                self._waiting.popleft()
                self._left_out += 1
            return self._flush() if self._waiting else None

    def close(self) -> None:
        """The process ends: what is still open is lost, and the segment is closed."""
        now = self._clock()
        lost = [Event(LOST, now, subject, _WHY) for subject in sorted(self._open)]
        why = self.add(lost)
        with self._lock:
            if why is None and self._at:
                self._flush(closing=True)
            self._let_go()

    def _flush(self, closing: bool = False) -> str | None:
        at, buried = self._at, self._buried
        try:
            file = self._opened()
            file.execute("BEGIN IMMEDIATE")
            self._put(file, closing)
            file.execute("COMMIT")
        except (sqlite3.Error, OSError) as e:
            self._at, self._buried = at, buried
            self._let_go()
            return f"{self._path}: {getattr(e, 'strerror', None) or e}"
        for event in self._waiting:
            (self._open.add if event.kind == START else self._open.discard)(event.subject)
        self._waiting.clear()
        self._left_out = 0
        return None

    def _put(self, file: sqlite3.Connection, closing: bool) -> None:
        now = self._clock()
        day, at = int(now // 86_400), self._at
        if at and at.open and (closing or at.end.n >= self._most or at.day != day):
            self._close_segment(file, now)
        if closing:
            return
        if self._at is None or not self._at.open:
            self._open_segment(file, now, day)
        if self._left_out:
            said = {"events": self._left_out, "why": "the journal could not be written for long"}
            self._append(file, Event(LOST, now, "", msgspec.json.encode(said).decode()))
        for event in self._waiting:
            # A recorder that took another's place may be told again.
            if not event.subject or not _told(file, event):
                self._append(file, event)

    def _append(self, file: sqlite3.Connection, event: Event) -> None:
        assert self._at
        segment, n = self._at.end.segment, self._at.end.n + 1
        hash = link(self._at.end.hash, segment, n, event)
        row = (segment, n, event.kind, event.at, event.subject, event.data, hash)
        file.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._at = msgspec.structs.replace(self._at, end=End(segment, n, hash))

    def _close_segment(self, file: sqlite3.Connection, now: float) -> None:
        assert self._at
        self._append(file, Event(CLOSED, now, self._at.end.segment, _closing(self._at.end)))
        self._at = msgspec.structs.replace(self._at, open=False)

    def _open_segment(self, file: sqlite3.Connection, now: float, day: int) -> None:
        number = self._at.number + 1 if self._at else 1
        seen = loose_ends(file)
        if self._at and self._at.end not in seen:
            # The file is gone from under us: the chain goes on in another.
            seen.append(self._at.end)
        opening = msgspec.json.encode(Opening(self.process, number, now, self._who, seen)).decode()
        id = f"{self.process}.{number}"
        row = (id, self.process, number, opening, root(opening))
        file.execute("INSERT INTO segment VALUES (?, ?, ?, ?, ?)", row)
        self._at = _At(number, End(id, 0, root(opening)), day)
        if not self._buried:
            self._bury(file, now)
            self._buried = True
        jumped = abs(now - self._steady() - self._offset) > _JUMP
        if self._keep and not jumped:
            for event in list(retire(file, now, self._keep, id)):
                self._append(file, event)

    def _bury(self, file: sqlite3.Connection, now: float) -> None:
        """Tell what processes left open that are gone, and close their segments."""
        for end, opening in unclosed(file):
            if opening.process == self.process or not _gone(file, end, opening, now):
                continue
            for subject in left_open(file, opening.process):
                self._append(file, Event(LOST, now, subject, _WHY))
            self._append(file, Event(CLOSED, now, end.segment, _closing(end)))

    def _opened(self) -> sqlite3.Connection:
        if self._file:
            try:
                found = os.stat(self._path)
                if (found.st_dev, found.st_ino) == self._file[1]:
                    return self._file[0]
            except FileNotFoundError:
                pass
            self._let_go()
            if self._at:
                self._at = msgspec.structs.replace(self._at, open=False)
        private_folder(self._path.parent)
        # SQLite gives its own journals the rights of the file.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        file = sqlite3.connect(
            self._path, timeout=10, isolation_level=None, check_same_thread=False
        )
        try:
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = NORMAL")
            file.executescript(SCHEMA + VIEW)
        except sqlite3.Error:
            file.close()
            raise
        found = os.stat(self._path)
        self._file = file, (found.st_dev, found.st_ino)
        return file

    def _let_go(self) -> None:
        if self._file:
            # Closing rolls back what was begun.
            self._file[0].close()
        self._file = None


_WHY = msgspec.json.encode({"why": "the process ended before the answer did"}).decode()


def loose_ends(file: sqlite3.Connection) -> list[End]:
    """The ends of segments that no other segment has seen: together they stand for everything."""
    ends: list[End] = []
    seen: set[tuple[str, int]] = set()
    for id, opening, first in file.execute("SELECT id, opening, root FROM segment"):
        ends.append(_end(file, id, first))
        seen |= {(end.segment, end.n) for end in _opening(opening).seen}
    for data in file.execute("SELECT data FROM event WHERE kind = ?", (CLOSED,)):
        said = msgspec.json.decode(data[0])
        seen.add((said["segment"], said["events"]))
    return [end for end in ends if (end.segment, end.n) not in seen]


def unclosed(file: sqlite3.Connection) -> list[tuple[End, Opening]]:
    """The segments that nobody has closed, and how they began."""
    rows = file.execute(
        "SELECT id, opening, root FROM segment WHERE NOT EXISTS "
        "(SELECT 1 FROM event WHERE subject = id AND kind = ?)",
        (CLOSED,),
    ).fetchall()
    return [(_end(file, id, first), _opening(opening)) for id, opening, first in rows]


def left_open(file: sqlite3.Connection, process: str) -> list[str]:
    """The exchanges that ``process`` has begun, and nobody ended."""
    rows = file.execute(
        "SELECT s.subject FROM event s WHERE s.kind = ? AND s.segment IN "
        "(SELECT id FROM segment WHERE process = ?) AND NOT EXISTS "
        "(SELECT 1 FROM event e WHERE e.subject = s.subject AND e.kind IN (?, ?))",
        (START, process, END, LOST),
    )
    return [row[0] for row in rows]


def _gone(file: sqlite3.Connection, end: End, opening: Opening, now: float) -> bool:
    row = file.execute(
        "SELECT at FROM event WHERE segment = ? AND n = ?", (end.segment, end.n)
    ).fetchone()
    return processes.gone(opening.who, row[0] if row else opening.at, now)


def _told(file: sqlite3.Connection, event: Event) -> bool:
    """Whether the file has ``event``, or the end that makes it untrue."""
    known = "SELECT 1 FROM event WHERE subject = ? AND kind IN (?, ?)"
    also = END if event.kind == LOST else event.kind
    return bool(file.execute(known, (event.subject, event.kind, also)).fetchone())


def _closing(end: End) -> str:
    said = {"segment": end.segment, "events": end.n, "head": end.hash}
    return msgspec.json.encode(said).decode()


def _end(file: sqlite3.Connection, id: str, first: str) -> End:
    row = file.execute(
        "SELECT n, hash FROM event WHERE segment = ? ORDER BY n DESC LIMIT 1", (id,)
    ).fetchone()
    return End(id, *(row or (0, first)))


def _opening(text: str) -> Opening:
    return msgspec.json.decode(text, type=Opening)


def _steady() -> float:
    """Seconds since the machine started, with those that it slept."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
