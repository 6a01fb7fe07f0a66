"""Sessions in numbers as a terminal shows them: a table, and a plot of each over its turns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from ..account.sessions import Turns, summed
from ..live.tables import brief
from . import screen
from .screen import Column

#: Columns of a plot besides its bars.
_NUMBERS = 37
_MOST_BARS = 60
_COLUMNS = (
    # Ids of threads begin alike.
    Column("session", text=True, tail=True, least=13, most=13),
    Column("turns"),
    Column("failed"),
    Column("input"),
    Column("cached", rank=1),
    Column("saved", rank=2),
    Column("billed"),
    Column("spared", rank=3),
    Column("output"),
    Column("$"),
)


def table(found: Sequence[Turns], room: int | None) -> Group:
    """A row per session, and their sum, in ``room`` columns of a terminal or None for a pipe."""
    whole = summed(found)
    caption = (
        "\nbilled: input at the full price, a cached token at the provider's share of it; saved: "
        "left out by dedup, spared: what that would have been billed as; "
        f"counted by: {whole.counted_by or '–'}"
    )
    # What nobody has is no column: a terminal is narrow.
    columns = [column for column in _COLUMNS if column.title != "failed" or whole.failed]
    return screen.table(
        columns,
        [_row(turns, columns) for turns in found],
        room,
        total=_row(whole, columns) if len(found) > 1 else (),
        title="What was sent and billed, in tokens\n",
        caption=caption,
    )


def _row(turns: Turns, columns: Sequence[Column]) -> list[str]:
    read = turns.total("cached") / max(1.0, turns.total("input"))
    dollars = turns.dollars
    return [
        turns.name,
        f"{len(turns.accounts):,}",
        *([f"{turns.failed:,}"] if len(columns) == len(_COLUMNS) else []),
        brief(turns.total("input")),
        f"{read:.0%}",
        brief(turns.total("saved")),
        brief(turns.total("billed")),
        brief(turns.total("spared")),
        brief(turns.total("output")),
        "–" if dollars is None else f"{dollars:.4f}",
    ]


def plot(turns: Turns, width: int) -> Group:
    """A bar per turn: read from the cache, paid in full, left out by dedup."""
    accounts = turns.accounts
    step = max(1, -(-len(accounts) // _MOST_BARS))
    most = max((a.input + a.saved for a in accounts), default=1) or 1
    room = max(10, width - _NUMBERS)
    head = Text(f"\n{turns.name}\n", style="bold")
    head.append(f"{'turn':>5} {'input':>9} {'billed':>9} {'saved':>7}  ", style="dim")
    head.append("█ full price", style="red")
    head.append("  ▓ cached", style="green")
    head.append("  ░ left out", style="blue")
    lines = [head]
    for n in range(0, len(accounts), step):
        one = accounts[n]
        line = Text(f"{n + 1:>5} {one.input:>9,} {one.billed:>9,.0f} {one.saved:>7,}  ")
        for count, sign, style in (
            (one.input - one.cached, "█", "red"),
            (one.cached, "▓", "green"),
            (one.saved, "░", "blue"),
        ):
            line.append(sign * round(room * count / most), style=style)
        lines.append(line)
    return Group(*lines)
