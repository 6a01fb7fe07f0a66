"""What a journal is made of: events in segments, each bound to what stands before it by its hash.

A segment opens with a text that tells whose it is and how far the others had come; the hash of
that text is its root. Each event's hash is made of the one before it and of all the event says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from ..shown import short
from .summary import repairs

#: What happens to an exchange; then what happens to segments.
START, END, LOST = "start", "end", "lost"
CLOSED, DROPPED = "closed", "dropped"

SCHEMA = """
CREATE TABLE IF NOT EXISTS segment (
    id TEXT NOT NULL UNIQUE, process TEXT NOT NULL, number INTEGER NOT NULL,
    opening TEXT NOT NULL, root TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS event (
    segment TEXT NOT NULL, n INTEGER NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL,
    subject TEXT NOT NULL, data TEXT NOT NULL, hash TEXT NOT NULL, UNIQUE (segment, n)
);
CREATE INDEX IF NOT EXISTS event_subject ON event (subject, kind);
CREATE INDEX IF NOT EXISTS event_at ON event (at);
CREATE TRIGGER IF NOT EXISTS event_stays BEFORE UPDATE ON event
    BEGIN SELECT raise(ABORT, 'events are never changed'); END;
CREATE TRIGGER IF NOT EXISTS segment_stays BEFORE UPDATE ON segment
    BEGIN SELECT raise(ABORT, 'segments are never changed'); END;
"""

_TEXTS = ("session", "thread", "turn", "client", "asked", "used", "route", "reason", "policy")
_NUMBERS = ("status", "calls", "input", "cached", "written", "output")
_COSTS = ("saved", "spared", "billed", "dollars")
_TIMES = ("total", "first_byte", "added")
#: The columns of an exchange, in the order in which they are shown and exported.
COLUMNS = (
    "flow", "state", "began", "ended", *_TEXTS, *_NUMBERS, *_COSTS, *_TIMES,
    "repairs", "error", "file", "segment",
)  # fmt: skip
_PLAIN = {"flow", "state", "began", "ended", "segment"}

VIEW = f"""
CREATE VIEW IF NOT EXISTS exchange AS
WITH told AS (
    SELECT subject AS flow,
        max(CASE kind WHEN 'start' THEN at END) AS started,
        max(CASE kind WHEN 'end' THEN at END) AS ended,
        max(CASE kind WHEN 'lost' THEN at END) AS lost,
        max(CASE WHEN kind != 'lost' THEN segment END) AS segment,
        coalesce(max(CASE kind WHEN 'end' THEN data END),
                 max(CASE kind WHEN 'start' THEN data END), '{{}}') AS data
    FROM event WHERE kind IN ('start', 'end', 'lost') AND subject != '' GROUP BY subject
)
SELECT flow,
    CASE WHEN ended IS NOT NULL AND json_extract(data, '$.error') IS NULL
              AND json_extract(data, '$.status') < 400 THEN 'ok'
         WHEN ended IS NOT NULL THEN 'failed'
         WHEN lost IS NOT NULL THEN 'lost' ELSE 'open' END AS state,
    coalesce(json_extract(data, '$.started'), started) AS began, ended,
    {", ".join(f"json_extract(data, '$.{c}') AS {c}" for c in COLUMNS if c not in _PLAIN)}, segment
FROM told
"""

#: No field of a client's may make an event longer than a pipe takes in one piece.
_LONGEST = 240


class Event(msgspec.Struct, frozen=True):
    """Something that happened. ``subject`` is an exchange's id, or a segment's; ``data`` is JSON;
    ``at`` in seconds since 1970."""

    kind: str
    at: float
    subject: str
    data: str = "{}"


class End(msgspec.Struct, frozen=True, array_like=True):
    """How far a segment has come: the number of its last event, 0 for none, and its hash."""

    segment: str
    n: int
    hash: str

    def __str__(self) -> str:
        return f"{self.segment}:{self.n}:{self.hash}"


class Opening(msgspec.Struct, frozen=True):
    """What a segment begins with. ``who`` tells of the processes behind it (`processes.describe`);
    ``seen`` are the ends of other segments that no earlier one had seen."""

    process: str
    number: int
    at: float
    who: dict[str, Any]
    seen: list[End]


def root(opening: str) -> str:
    """The hash that a segment's first event is bound to."""
    return hashlib.sha256(b"interpose journal 1\n" + opening.encode()).hexdigest()


def link(before: str, segment: str, n: int, event: Event) -> str:
    """The hash of ``event`` as the ``n``-th of ``segment``, behind the hash ``before``."""
    said = [before, segment, n, event.kind, event.at, event.subject, event.data]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def begun(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a ``start`` says, of a row as far as it is known then."""
    route = row.get("route") or {}
    used = f"{route['provider']}/{route['model']}" if route else None
    label = route.get("name") or (f"{route['provider']}:{route['model']}" if route else None)
    said = {
        "session": row.get("session") or row.get("thread"),
        "thread": row.get("thread"),
        "turn": row.get("turn"),
        "client": row.get("client"),
        "asked": row.get("model"),
        "used": used,
        "route": label,
        "reason": route.get("reason"),
        "policy": row.get("policy"),
    }
    return {name: short(value, _LONGEST) for name, value in said.items() if value}


def ended(row: Mapping[str, Any], started: float, file: str | None) -> dict[str, Any]:
    """What an ``end`` says: the whole row (`summary.Row`), and the flow file that holds the rest,
    None where it could not be written."""
    usage, account, ms = row.get("usage") or {}, row.get("account") or {}, row.get("ms") or {}
    said = {
        **begun(row),
        "started": started,
        "status": row.get("status"),
        "calls": row.get("calls") or None,
        "input": account.get("input") or usage.get("input_tokens"),
        "cached": account.get("cached") or usage.get("cached_tokens"),
        "written": account.get("written") or usage.get("cache_write_tokens"),
        "output": account.get("output") or usage.get("output_tokens"),
        **{name: account.get(name) for name in _COSTS},
        **{name: ms.get(name) for name in _TIMES},
        "repairs": repairs(row) or None,
        "error": row.get("error"),
        "file": file,
    }
    return {name: value for name, value in said.items() if value is not None}
