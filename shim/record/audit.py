"""Reading the journal: its exchanges, filtered, and which of them will never end."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from . import processes
from .events import COLUMNS, LOST
from .journal import NAME, unclosed

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class NoJournal(Exception):
    """There is no journal to read; the sentence says where, and why."""


class Asked(msgspec.Struct, frozen=True):
    """Which exchanges are wanted: ``session`` is how an id of session or thread begins or ends,
    ``model`` a part of the name asked for or used, ``since`` seconds since 1970; ``status`` a state
    (ok, failed, lost, open), a status (404) or a class of them (5xx)."""

    session: str = ""
    model: str = ""
    since: float = 0.0
    status: str = ""


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
    if asked.since:
        words.append("flow IN (SELECT subject FROM event WHERE at >= ?)")
        values.append(asked.since)
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
    return [row for row in found if _wanted(row, asked)]


def not_told(file: sqlite3.Connection) -> list[tuple[float, int]]:
    """When events could not be written, and how many."""
    rows = file.execute("SELECT at, data FROM event WHERE kind = ? AND subject = ''", (LOST,))
    return [(at, int(msgspec.json.decode(data)["events"])) for at, data in rows]


def since(text: str, now: float) -> float:
    """Seconds since 1970 of ``2h``, ``3d`` ago, ``2026-11-21`` or ``2026-11-21T08:00`` (UTC).

    ValueError with a sentence for anything else.
    """
    if ago := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        return now - float(ago[1]) * _UNITS[ago[2]]
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--since takes 30m, 2h, 3d or 2026-11-21, not {text!r}") from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


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


def _wanted(row: dict[str, Any], asked: Asked) -> bool:
    ids = [str(row[name] or "") for name in ("session", "thread")]
    wanted = asked.session.lstrip("…")
    if wanted and not any(id.startswith(wanted) or id.endswith(wanted) for id in ids):
        return False
    if asked.model and not any(
        asked.model in str(row[n] or "") for n in ("asked", "used", "route")
    ):
        return False
    if not asked.status:
        return True
    status = str(row["status"] or "")
    if re.fullmatch(r"\dxx", asked.status):
        return status[:1] == asked.status[0]
    return asked.status in (row["state"], status)
