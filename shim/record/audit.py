"""Reading the journal: its exchanges, filtered, and which of them will never end."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from . import processes
from .asked import Asked
from .events import COLUMNS, LOST
from .journal import NAME, unclosed

_UNENDED = (
    "SELECT subject FROM event s WHERE kind = 'start' AND NOT EXISTS "
    "(SELECT 1 FROM event e WHERE e.subject = s.subject AND e.kind IN ('end', 'lost'))"
)


class NoJournal(Exception):
    """There is no journal to read; the sentence says where, and why."""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The journal at ``path``, a file or the folder it is in. NoJournal when it cannot be read."""
    path = path / NAME if path.is_dir() else path
    if not path.is_file():
        raise NoJournal(f"{path}: there is no journal")
    try:
        file = _open(path)
    except sqlite3.Error as e:
        raise NoJournal(f"{path}: cannot be read: {e}") from None
    try:
        yield file
    except sqlite3.DatabaseError as e:
        raise NoJournal(f"{path}: is damaged, or no journal: {e}") from None
    finally:
        file.close()


def _open(path: Path) -> sqlite3.Connection:
    for mode in ("mode=ro", "immutable=1"):
        # A folder that cannot be written to holds no lock of a reader either.
        file = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)
        try:
            file.execute("SELECT 1 FROM event LIMIT 1").fetchone()
            return file
        except sqlite3.OperationalError as e:
            file.close()
            failed = e
    raise failed


def exchanges(file: sqlite3.Connection, asked: Asked, now: float) -> list[dict[str, Any]]:
    """One row per exchange, by columns of `COLUMNS`, in the order in which they began.

    What is open in a process that is gone is told as lost, whether or not the journal says so yet.
    """
    words, values = ["1"], []
    # The indexes know these: what is long past need not be read.
    if asked.since:
        words.append(f"flow IN (SELECT subject FROM event WHERE at >= ? UNION {_UNENDED})")
        values.append(asked.since)
    if asked.until:
        words.append("flow IN (SELECT subject FROM event WHERE at < ?)")
        values.append(asked.until)
    rows = file.execute(
        f"SELECT {', '.join(COLUMNS)} FROM exchange WHERE {' AND '.join(words)} "
        "ORDER BY began, flow",
        values,
    )
    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    dead = _dead(file, now)
    for row in found:
        if row["state"] == "open" and str(row["segment"]).rpartition(".")[0] in dead:
            row["state"] = "lost"
    return [row for row in found if asked.wants(row)]


def not_told(file: sqlite3.Connection) -> list[tuple[float, int]]:
    """When events could not be written, and how many."""
    rows = file.execute("SELECT at, data FROM event WHERE kind = ? AND subject = ''", (LOST,))
    return [(at, int(msgspec.json.decode(data)["events"])) for at, data in rows]


def told(at: float | None) -> str:
    """A time as people read it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) if at is not None else ""


def _dead(file: sqlite3.Connection, now: float) -> set[str]:
    """The processes that are gone and have not closed what they wrote."""
    dead = set()
    for end, opening in unclosed(file):
        row = file.execute(
            "SELECT at FROM event WHERE segment = ? AND n = ?", (end.segment, end.n)
        ).fetchone()
        if processes.gone(opening.who, row[0] if row else opening.at, now):
            dead.add(opening.process)
    return dead
