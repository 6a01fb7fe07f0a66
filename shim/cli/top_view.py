"""What ``interpose top`` shows: the page ``GET /health?live=1`` as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..live import tables
from ..live.tables import brief, cell
from ..shown import plain
from . import screen
from .screen import Column

#: Lines that are no rows: the title, the sums, what is said of the chain, the heads of two tables.
_AROUND = 22
#: What is shown of each table, and as what; the rest stands in the dashboard and in --json.
_FORMS: dict[str, dict[str, Any]] = {
    # Ids of threads begin alike.
    "session": {"tail": True, "least": 13, "most": 13},
    "models": {"least": 9},
    "output": {"rank": 1},
    "cached": {"rank": 2},
    "spared": {"rank": 3},
}
_UNDER_WAY = ("session", "model", "route", "state", "seconds")
_SESSIONS = (
    "session", "models", "turns", "errors",
    "input", "cached", "saved", "spared", "billed", "output", "dollars",
)  # fmt: skip


def view(
    page: Mapping[str, Any], url: str, width: int | None = 80, height: int | None = None
) -> RenderableType:
    """All of it in ``width`` columns of a terminal, None for a pipe; with a ``height``, as many
    rows as have room in so many lines."""
    fits = height is not None
    room = max(4, height - _AROUND) if height else None
    under_way = min(len(page["under_way"]), room // 2) if room else None
    rest = room - under_way if room and under_way is not None else None
    return Group(
        Text(f"Interpose at {plain(url)}", style="bold"),
        _sums(page["live"]),
        Text(),
        _chain(page, fits),
        _table(tables.UNDER_WAY, page, _UNDER_WAY, under_way, width),
        _table(tables.SESSIONS, page, _SESSIONS, rest, width),
    )


def lost(
    why: str, last: Mapping[str, Any] | None, url: str, width: int, height: int
) -> RenderableType:
    """That no chain answers, above what the last one said."""
    said = Text(f"{plain(why)}\nStill trying; Ctrl-C ends.", style="bold red")
    if last is None:
        return said
    return Group(said, Text("Its last numbers:\n"), view(last, url, width, height - 5))


def _sums(live: Mapping[str, Any]) -> Text:
    """All sessions together, in sentences that wrap: no number of them may be cut."""
    sums = live["totals"]
    errors, dollars = sums["errors"], sums["dollars"]
    text = Text(plain(live["said"]), style="red" if live["said"] != "No errors." else "")
    text = Text.assemble(text, f"\nsessions {sums['sessions']:,} · turns {sums['turns']:,} · ")
    text.append(f"errors {errors:,}", style="red" if errors else "")
    text.append(f" · under way {sums['under_way']:,}\ntokens: ")
    names = ("input", "cached", "saved", "spared", "billed", "output")
    text.append(" · ".join(f"{name} {brief(sums[name])}" for name in names))
    text.append(" · price not known" if dollars is None else f" · ${dollars:.4f}")
    return text


def _chain(page: Mapping[str, Any], fits: bool) -> Table:
    rows = [(plain(str(row["what"])), plain(str(row["says"]))) for row in tables.CHAIN.rows(page)]
    made = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    # A name goes before what is said of it.
    longest = max((len(what) for what, _ in rows), default=0)
    made.add_column(no_wrap=True, overflow="ellipsis", min_width=min(longest, 30))
    made.add_column(no_wrap=fits, overflow="ellipsis" if fits else "fold")
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def _table(
    table: tables.Table,
    page: Mapping[str, Any],
    keys: Sequence[str],
    most: int | None,
    width: int | None,
) -> RenderableType:
    rows = table.rows(page)
    if not rows:
        return Text(f"\n{table.empty}")
    named = {column.key: column for column in table.columns}
    columns = [named[key] for key in keys]
    return screen.table(
        [_column(column) for column in columns],
        [_cells(columns, row) for row in rows[:most]],
        width,
        title=f"\n{table.caption}",
        caption=f"and {len(rows) - most} more" if most is not None and len(rows) > most else "",
    )


def _column(column: tables.Column) -> Column:
    return Column(column.title, column.form == "text", **_FORMS.get(column.key, {}))


def _cells(columns: Sequence[tables.Column], row: Mapping[str, Any]) -> list[Text]:
    cells = []
    for column in columns:
        value: Any = row.get(column.key)
        tokens = column.form == "count" and isinstance(value, int | float)
        said = brief(value) if tokens else plain(cell(value, column.form))
        wrong = column.key == "errors" and value
        cells.append(Text(said, style="red" if wrong else ""))
    return cells
