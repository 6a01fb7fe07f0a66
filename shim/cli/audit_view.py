"""The journal as a terminal shows it: a table of exchanges, and a session as bars over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..record.audit import told

_STYLES = {"ok": "green", "failed": "red", "lost": "bold red", "open": "yellow"}
#: Ids begin alike; so many characters at their end are shown.
_ID = 8
_SHOWN = {
    "total": "s", "input": "in", "cached": "cached", "output": "out", "saved": "saved",
    "repairs": "repairs", "dollars": "$",
}  # fmt: skip
#: Columns of a timeline besides its bars.
_NUMBERS = 62


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """A row per exchange, and how many there are of each state."""
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    made.add_column("began (UTC)", no_wrap=True)
    made.add_column("session", no_wrap=True, min_width=_ID + 1)
    made.add_column("used", no_wrap=True, overflow="ellipsis", ratio=1)
    made.add_column("status", no_wrap=True)
    # What nobody has is no column: a terminal is narrow.
    shown = [n for n in _SHOWN if any(row[n] for row in rows)]
    for name in shown:
        made.add_column(_SHOWN[name], justify="right", no_wrap=True)
    made.add_column("flow", no_wrap=True, min_width=_ID)
    for row in rows:
        made.add_row(
            told(row["began"])[5:],
            _end(row["session"]),
            str(row["used"] or row["asked"] or "–"),
            Text(_status(row), _STYLES[row["state"]]),
            *(_number(name, row[name]) for name in shown),
            str(row["flow"])[:_ID],
        )
    made.caption, made.caption_justify = _counts(rows), "left"
    return made


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
    room = max(10, width - _NUMBERS)
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


def _end(id: object) -> str:
    text = str(id or "–")
    return text if len(text) <= _ID else f"…{text[-_ID:]}"


def _seconds(milliseconds: float | None) -> str:
    return f"{milliseconds / 1000:.2f}" if milliseconds is not None else ""


def _at(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"+{hours}:{minutes:02}:{rest:02}"
