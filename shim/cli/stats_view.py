"""Sessions in numbers as a terminal shows them: a table, and a plot of each over its turns."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..account.sessions import Turns, summed
from ..live.tables import brief

#: Columns of a plot besides its bars.
_NUMBERS = 37
_MOST_BARS = 60
#: Ids of threads begin alike; so many characters at their end are shown.
_NAME = 12


def table(found: Sequence[Turns]) -> Table:
    """A row per session, and their sum."""
    title = "What was sent and billed, in tokens"
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    made.add_column("session", no_wrap=True)
    for name in ("turns", "input", "cached", "saved", "billed", "spared", "output", "$"):
        made.add_column(name, justify="right", no_wrap=True)
    for turns in found:
        made.add_row(*_row(turns))
    if len(found) > 1:
        made.add_section()
        made.add_row(*_row(summed(found)))
    counted = summed(found).counted_by
    made.caption = (
        "billed: input at the full price, a cached token at the provider's share of it; saved: "
        "left out by dedup, spared: what that would have been billed as; counted by: " + counted
    )
    made.caption_justify = "left"
    return made


def _row(turns: Turns) -> list[str]:
    read = turns.total("cached") / max(1.0, turns.total("input"))
    failed = f" (+{turns.failed} failed)" if turns.failed else ""
    dollars = turns.dollars
    return [
        turns.name if len(turns.name) <= _NAME else f"…{turns.name[-_NAME:]}",
        f"{len(turns.accounts)}{failed}",
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
