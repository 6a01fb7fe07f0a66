"""The journal as a terminal shows it: a table of exchanges, and a session as bars over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from ..record.audit import told
from . import screen
from .screen import Column

_STYLES = {"ok": "green", "failed": "red", "lost": "bold red", "open": "yellow"}
#: So many characters of an id tell it from others.
_ID = 8
_FIRST = (
    Column("began (UTC)", text=True, least=14),
    # Ids of sessions begin alike.
    Column("session", text=True, tail=True, least=_ID + 1, most=_ID + 1, rank=1),
    Column("used", text=True),
    Column("status", text=True, least=6),
)
_NUMBERS = {
    "total": Column("s"),
    "input": Column("in"),
    "cached": Column("cached", rank=2),
    "output": Column("out"),
    "saved": Column("saved", rank=4),
    "repairs": Column("repairs", rank=5),
    "dollars": Column("$"),
}
_FLOW = Column("flow", text=True, rank=3)
#: Columns of a timeline besides its bars.
_BESIDES = 62


def table(rows: Sequence[dict[str, Any]], room: int | None) -> Group:
    """A row per exchange, and how many there are of each state, in ``room`` columns of a terminal
    or None for a pipe."""
    # What nobody has is no column: a terminal is narrow.
    shown = [n for n in _NUMBERS if any(row[n] for row in rows)]
    cells: list[list[str | Text]] = [
        [
            told(row["began"])[5:],
            str(row["session"] or "–"),
            str(row["used"] or row["asked"] or "–"),
            Text(_status(row), _STYLES[row["state"]]),
            *(_number(name, row[name]) for name in shown),
            str(row["flow"])[: _ID if room else None],
        ]
        for row in rows
    ]
    columns = [*_FIRST, *(_NUMBERS[name] for name in shown), _FLOW]
    return screen.table(columns, cells, room, caption=_counts(rows))


def _number(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name == "total":
        return _seconds(value)
    return f"{value:.4f}" if name == "dollars" else f"{value:,}"


def by_session(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows of each session, in the order in which the sessions began."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(str(row["session"] or row["thread"]), []).append(row)
    return list(found.values())


def timeline(rows: Sequence[dict[str, Any]], width: int) -> Group:
    """Each exchange as a bar from its beginning to its end: until the first byte, and then."""
    begun = min(row["began"] for row in rows)
    last = max(max(row["began"], row["ended"] or 0.0) for row in rows)
    room = max(10, width - _BESIDES)
    # Bars are rounded up, and end in a mark.
    scale = (room - 2) / max(last - begun, 0.001)
    head = Text(f"\n{rows[0]['session'] or rows[0]['thread']}\n", style="bold")
    head.append(
        f"{'turn':>4} {'at':>9} {'seconds':>8} {'out':>7} {'status':>7} {'used':<20}  ", "dim"
    )
    head.append("░ waits", style="blue")
    head.append("  █ streams", style="green")
    lines = [head]
    for n, row in enumerate(rows, 1):
        at = row["began"] - begun
        total, first = (row["total"] or 0) / 1000, (row["first_byte"] or row["total"] or 0) / 1000
        used = str(row["used"] or row["asked"] or "")[-20:]
        line = Text(f"{n:>4} {_at(at):>9} {_seconds(row['total']):>8} {row['output'] or 0:>7,} ")
        line.append(f"{_status(row):>7} ", _STYLES[row["state"]])
        line.append(f"{used:<20}  ")
        line.append(" " * min(room, round(at * scale)))
        line.append("░" * round(first * scale), style="blue")
        streams = round(max(0.0, total - first) * scale)
        line.append("█" * streams or "▏", style=_STYLES[row["state"]])
        line.truncate(width)
        lines.append(line)
    lines.append(Text(_counts(rows), style="dim"))
    return Group(*lines)


def _counts(rows: Sequence[dict[str, Any]]) -> str:
    states = [row["state"] for row in rows]
    said = [f"{states.count(s):,} {s}" for s in _STYLES if s in states]
    return f"{len(rows):,} exchanges: {', '.join(said)}"


def _status(row: dict[str, Any]) -> str:
    return str(row["status"]) if row["status"] else str(row["state"])


def _seconds(milliseconds: float | None) -> str:
    return f"{milliseconds / 1000:.2f}" if milliseconds is not None else ""


def _at(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"+{hours}:{minutes:02}:{rest:02}"
