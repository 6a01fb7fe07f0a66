"""Retention of the journal: whole segments go, and what they were is told by an event."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import msgspec

from .events import CLOSED, DROPPED, Event


def retire(file: sqlite3.Connection, now: float, keep: float, current: str) -> Iterator[Event]:
    """Drop the closed segments whose last event is ``keep`` days old; what is to be told of each.

    What a dropped segment told of others that were dropped is told again.
    """
    before = now - keep * 86_400
    rows = file.execute("SELECT id, process, number, root FROM segment WHERE id != ?", (current,))
    for id, process, number, root in rows.fetchall():
        last = _last(file, id, root)
        if last is None or last[2] >= before:
            continue
        told = file.execute(
            "SELECT at, subject, data FROM event WHERE segment = ? AND kind = ?", (id, DROPPED)
        ).fetchall()
        file.execute("DELETE FROM event WHERE segment = ?", (id,))
        file.execute("DELETE FROM segment WHERE id = ?", (id,))
        said = {"process": process, "number": number, "events": last[0], "head": last[1]}
        yield Event(DROPPED, now, id, msgspec.json.encode({**said, "last": last[2]}).decode())
        for at, subject, data in told:
            yield Event(DROPPED, at, subject, data)


def _last(file: sqlite3.Connection, id: str, root: str) -> tuple[int, str, float] | None:
    """A closed segment's last event: its number, hash and time; None while it is open."""
    closed = file.execute(
        "SELECT at FROM event WHERE subject = ? AND kind = ? LIMIT 1", (id, CLOSED)
    ).fetchone()
    if closed is None:
        return None
    row = file.execute(
        "SELECT n, hash, at FROM event WHERE segment = ? ORDER BY n DESC LIMIT 1", (id,)
    ).fetchone()
    return row or (0, root, closed[0])
