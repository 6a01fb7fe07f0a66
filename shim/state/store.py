"""Where stored responses live: a bounded SQLite file, or memory. A server would be a third `Store`.

Methods may take milliseconds and may be called from any thread.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

from ..system import private_folder

MOST_ENTRIES = 10_000
MOST_BYTES = 256 * 1024 * 1024


class Store(Protocol):
    """Bytes by key; what was not used for longest makes room."""

    def get(self, key: str) -> bytes | None:
        """The value of ``key``, which then counts as used; None when there is none."""

    def put(self, key: str, value: bytes) -> None:
        """Keep ``value``, in place of what ``key`` had."""

    def delete(self, key: str) -> bool:
        """Forget ``key``; whether there was one."""

    def add(self, key: str, amount: float, until: float, now: float) -> float:
        """Add to the counter ``key``, which ends at ``until`` and then begins from 0; its total.

        Times are seconds since 1970.
        """

    def total(self, key: str, now: float) -> float:
        """What the counter ``key`` has come to; 0 when it has ended or never begun."""

    def close(self) -> None:
        """Let go of what is open."""


class Memory:
    """Keeps at most ``entries`` values of ``size`` bytes together, until the process ends."""

    def __init__(self, entries: int = MOST_ENTRIES, size: int = MOST_BYTES) -> None:
        self._most = (entries, size)
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._counted: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: str, value: bytes) -> None:
        with self._lock:
            self._drop(key)
            self._kept[key] = value
            self._bytes += len(value)
            entries, size = self._most
            while len(self._kept) > entries or self._bytes > size:
                self._drop(next(iter(self._kept)))

    def delete(self, key: str) -> bool:
        with self._lock:
            return self._drop(key)

    def add(self, key: str, amount: float, until: float, now: float) -> float:
        with self._lock:
            known, end = self._counted.get(key, (0.0, 0.0))
            total = amount + (known if end > now else 0.0)
            self._counted[key] = (total, max(until, end) if end > now else until)
            self._counted.move_to_end(key)
            if len(self._counted) > self._most[0]:
                self._counted.popitem(last=False)
            return total

    def total(self, key: str, now: float) -> float:
        with self._lock:
            known, end = self._counted.get(key, (0.0, 0.0))
            return known if end > now else 0.0

    def close(self) -> None:
        pass

    def _drop(self, key: str) -> bool:
        value = self._kept.pop(key, None)
        self._bytes -= len(value or b"")
        return value is not None


class CurrentStore:
    """The store in use, behind one object that whoever needs it may hold: memory until `use`."""

    def __init__(self) -> None:
        self._store: Store = Memory()

    def use(self, store: Store) -> None:
        """Use ``store`` from now on."""
        self._store = store

    def get(self, key: str) -> bytes | None:
        return self._store.get(key)

    def put(self, key: str, value: bytes) -> None:
        self._store.put(key, value)

    def delete(self, key: str) -> bool:
        return self._store.delete(key)

    def add(self, key: str, amount: float, until: float, now: float) -> float:
        return self._store.add(key, amount, until, now)

    def total(self, key: str, now: float) -> float:
        return self._store.total(key, now)

    def close(self) -> None:
        self._store.close()


_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
    key TEXT PRIMARY KEY, used INTEGER NOT NULL, size INTEGER NOT NULL, value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS kept_used ON kept (used, size);
CREATE TABLE IF NOT EXISTS counted (
    key TEXT PRIMARY KEY, total REAL NOT NULL, until REAL NOT NULL
);
"""
_ADD = """
INSERT INTO counted VALUES (:k, :a, :u) ON CONFLICT (key) DO UPDATE SET
    total = CASE WHEN until > :n THEN total ELSE 0 END + :a,
    until = CASE WHEN until > :n THEN max(until, :u) ELSE :u END
RETURNING total
"""
_NOW = "(SELECT coalesce(max(used), 0) + 1 FROM kept)"


class SQLite:
    """Keeps at most ``entries`` values of ``size`` bytes together in the file ``path``.

    Only the user may read the file. It is made with the first value; several chains may share it.
    What is in the file ``former``, where earlier versions kept it, moves there.
    Raises sqlite3.Error or OSError where the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        entries: int = MOST_ENTRIES,
        size: int = MOST_BYTES,
        *,
        former: Path | None = None,
    ) -> None:
        self._path = path
        self._former = former
        self._most = (entries, size)
        self._opened: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        with self._lock:
            if not self._is_there:
                return None
            with self._open() as file:
                row = file.execute("SELECT value FROM kept WHERE key = ?", (key,)).fetchone()
                if row:
                    file.execute(f"UPDATE kept SET used = {_NOW} WHERE key = ?", (key,))
            return row[0] if row else None

    def put(self, key: str, value: bytes) -> None:
        with self._lock, self._open() as file:
            file.execute(
                f"INSERT OR REPLACE INTO kept VALUES (?, {_NOW}, ?, ?)", (key, len(value), value)
            )
            self._make_room(file)

    def delete(self, key: str) -> bool:
        with self._lock:
            if not self._is_there:
                return False
            with self._open() as file:
                return bool(file.execute("DELETE FROM kept WHERE key = ?", (key,)).rowcount)

    def add(self, key: str, amount: float, until: float, now: float) -> float:
        with self._lock, self._open() as file:
            # One statement: several chains may count at the same time.
            row = file.execute(_ADD, {"k": key, "a": amount, "u": until, "n": now}).fetchone()
            file.execute("DELETE FROM counted WHERE until <= ?", (now,))
            return float(row[0])

    def total(self, key: str, now: float) -> float:
        with self._lock:
            if not self._is_there:
                return 0.0
            with self._open() as file:
                row = file.execute(
                    "SELECT total FROM counted WHERE key = ? AND until > ?", (key, now)
                ).fetchone()
            return float(row[0]) if row else 0.0

    def close(self) -> None:
        with self._lock:
            if self._opened:
                self._opened.close()
            self._opened = None

    def _make_room(self, file: sqlite3.Connection) -> None:
        # The index holds used and size: no value is read for this.
        entries, size = self._most
        count, total = file.execute("SELECT count(*), coalesce(sum(size), 0) FROM kept").fetchone()
        if count <= entries and total <= size:
            return
        oldest = file.execute("SELECT key, size FROM kept ORDER BY used").fetchall()
        for key, freed in oldest:
            if count <= entries and total <= size:
                return
            file.execute("DELETE FROM kept WHERE key = ?", (key,))
            count, total = count - 1, total - freed

    @property
    def _is_there(self) -> bool:
        former = self._former is not None and self._former.exists()
        return self._opened is not None or self._path.exists() or former

    def _move(self, file: sqlite3.Connection) -> None:
        """Take over what is in the former file, then take that away."""
        former = self._former
        if former is None or not former.exists():
            return
        file.execute("ATTACH ? AS former", (str(former),))
        try:
            with file:
                for table in ("kept", "counted"):
                    file.execute(f"INSERT OR IGNORE INTO {table} SELECT * FROM former.{table}")
        finally:
            file.execute("DETACH former")
        for end in ("", "-wal", "-shm"):
            former.with_name(former.name + end).unlink(missing_ok=True)

    def _open(self) -> sqlite3.Connection:
        if self._opened is None:
            private_folder(self._path.parent)
            # SQLite gives its journals the rights of the file.
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            file = sqlite3.connect(self._path, timeout=5, check_same_thread=False)
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = NORMAL")
            # What was deleted is overwritten: these are prompts.
            file.execute("PRAGMA secure_delete = ON")
            file.executescript(_SCHEMA)
            self._move(file)
            self._opened = file
        return self._opened
