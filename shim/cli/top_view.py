"""What ``interpose top`` shows: the page ``GET /health?live=1`` as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..live import tables
from ..live.tables import cell

#: Ids of threads begin alike; so many characters at their end are shown.
_NAME = 12
#: Lines that are no rows: the heads of four tables, the sums, and what is said of the chain.
_AROUND = 24
#: A terminal shows less than a page: what is left out stands in the dashboard and in --json.
_SHOWN = {
    "totals": ("sessions", "under_way", "turns", "errors", "input", "cached", "saved", "billed",
               "output", "dollars"),
    "under_way": ("session", "model", "route", "state", "seconds"),
    "sessions": ("session", "models", "turns", "errors", "input", "cached", "saved", "billed",
                 "output", "dollars"),
    "chain": ("what", "says"),
}  # fmt: skip


def view(page: Mapping[str, Any], url: str, height: int | None = None) -> RenderableType:
    """All of it; with a ``height``, as many rows as have room in so many lines."""
    room = max(3, height - _AROUND) if height else None
    shown = (tables.CHAIN, tables.TOTALS, tables.UNDER_WAY, tables.SESSIONS)
    return Group(
        Text(f"Interpose at {_plain(url)}", style="bold"), *(_table(t, page, room) for t in shown)
    )


def lost(why: str, last: Mapping[str, Any] | None, url: str, height: int) -> RenderableType:
    """That no chain answers, above what the last one said."""
    said = Text(f"{_plain(why)}\nStill trying; Ctrl-C ends.", style="bold red")
    if last is None:
        return said
    return Group(said, Text("Its last numbers:\n"), view(last, url, height - 5))


def _table(table: tables.Table, page: Mapping[str, Any], room: int | None) -> RenderableType:
    rows = table.rows(page)
    if not rows:
        return Text(f"{table.caption}\n{table.empty}\n")
    named = {column.key: column for column in table.columns}
    columns = [named[key] for key in _SHOWN[table.name]]
    made = Table(
        title=table.caption, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for column in columns:
        numbers = column.form != "text"
        made.add_column(
            column.title,
            justify="right" if numbers else "left",
            no_wrap=numbers or column.key == "session",
            overflow="fold",
        )
    for row in rows[:room]:
        made.add_row(*_cells(columns, row))
    if room is not None and len(rows) > room:
        made.caption = f"and {len(rows) - room} more"
        made.caption_justify = "left"
    return made


def _cells(columns: Sequence[tables.Column], row: Mapping[str, Any]) -> list[Text]:
    # As Text, since rich would read markup in a name.
    found = []
    for column in columns:
        said = _plain(cell(row.get(column.key), column.form))
        if column.key == "session" and len(said) > _NAME:
            said = f"…{said[-_NAME:]}"
        wrong = column.key == "errors" and row.get("errors")
        found.append(Text(said, style="red" if wrong else ""))
    return found


def _plain(text: str) -> str:
    """``text`` without what a terminal would take for a command."""
    return "".join(c if c.isprintable() else "�" for c in text)
