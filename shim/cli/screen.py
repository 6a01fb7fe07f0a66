"""What commands print on, a terminal or a pipe, and the tables that fit either.

A terminal too narrow for a table gets its texts shortened, then its least important columns left
out, which is said below the table; a number is never cut. A pipe gets all of it, however wide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ..shown import plain

#: Columns of a pipe: more than any line has.
_ENDLESS = 100_000
#: Columns that bars have in a pipe, where nothing says how wide it is shown.
_BARS = 100
#: Columns between two of a table.
_GAP = 2


class Screen(Console):
    """The console of a command. ``room`` is how many columns it has, None for a pipe or a file;
    ``options`` are rich's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, **options})
        if not self.file.isatty():
            self.width = _ENDLESS

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        # Whoever prints a name has to think of nothing: its style is told apart from its text.
        for part in super().render(renderable, options):
            text = part.text if part.control else plain(part.text, "\n\t")
            yield part if text is part.text else Segment(text, part.style)

    @property
    def room(self) -> int | None:
        return None if self.width == _ENDLESS else self.width

    @property
    def bars(self) -> int:
        """Columns for what has bars, its numbers included."""
        return self.room or _BARS

    def on_broken_pipe(self) -> None:
        # rich itself would end the program with 1; `printing` ends it as a shell expects.
        raise BrokenPipeError


@dataclass(frozen=True)
class Column:
    """A column of a table: numbers at the right and whole, unless it is ``text``.

    On a terminal a text takes at most ``most`` columns and may be shortened to ``least``: at its
    beginning where its end is what tells (``tail``), in several lines where all of it does
    (``fold``). Of the columns that do not fit, the one with the highest ``rank`` goes first.
    """

    title: str
    text: bool = False
    least: int = 8
    most: int | None = None
    tail: bool = False
    fold: bool = False
    rank: int = 0


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str | Text]],
    room: int | None,
    *,
    total: Sequence[str | Text] = (),
    title: str = "",
    caption: str = "",
) -> Group:
    """``rows`` under their ``columns``, in ``room`` columns of a terminal or None for a pipe; the
    row ``total`` stands below a line."""
    cells = [[_text(cell) for cell in row] for row in (*rows, *([total] if total else []))]
    widths = _fit(columns, cells, room)
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for at, width in widths.items():
        column = columns[at]
        grid.add_column(
            column.title,
            justify="left" if column.text else "right",
            no_wrap=not column.fold,
            overflow="fold" if column.fold else "ellipsis",
            width=width,
        )
    for number, row in enumerate(cells):
        if total and number == len(rows):
            grid.add_section()
        grid.add_row(*(_shortened(row[at], columns[at], width) for at, width in widths.items()))
    parts: list[RenderableType] = [Text(title)] if title else []
    parts.append(grid)
    left = [" ".join(c.title.split()) for at, c in enumerate(columns) if at not in widths]
    if left:
        parts.append(Text(f"no room for: {', '.join(left)}; a pipe has them", style="dim"))
    if caption:
        parts.append(Text(caption, style="dim italic"))
    return Group(*parts)


def _fit(
    columns: Sequence[Column], rows: Sequence[Sequence[Text]], room: int | None
) -> Mapping[int, int]:
    """The columns that are shown, by their number, and how wide each is."""
    widths = {
        at: max(*map(cell_len, column.title.split("\n")), *(row[at].cell_len for row in rows), 1)
        for at, column in enumerate(columns)
    }
    if room is None:
        return widths
    for at, column in enumerate(columns):
        if column.text and column.most:
            widths[at] = min(widths[at], column.most)
    while (over := sum(widths.values()) + _GAP * (len(widths) - 1) - room) > 0:
        spare = {at: widths[at] - columns[at].least for at in widths if columns[at].text}
        if sum(max(0, n) for n in spare.values()) >= over:
            for _ in range(over):
                # The widest first, until they are alike.
                long = (at for at in spare if widths[at] > columns[at].least)
                widths[max(long, key=widths.__getitem__)] -= 1
        elif len(widths) > 1:
            del widths[max(list(widths)[1:], key=lambda at: (columns[at].rank, at))]
        else:
            break
    return widths


def _shortened(cell: Text, column: Column, width: int) -> Text:
    if not column.text or column.fold or cell.cell_len <= width:
        return cell
    if column.tail:
        return Text(f"…{cell.plain[1 - width :]}" if width > 1 else "…", cell.style)
    return cell


def _text(cell: str | Text) -> Text:
    # As Text, since rich would read markup in a name.
    return cell if isinstance(cell, Text) else Text(plain(cell))
