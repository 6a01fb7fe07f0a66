"""What pairs came to: a table on the terminal, one for docs/benchmarks.md, and what is missed."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from benchmarks.against.pairs import FEWEST, LIMIT, Estimate, compared
from benchmarks.against.run import FIGURES, THIS
from benchmarks.report import label

BEGIN, END = "<!-- against: begin -->", "<!-- against: end -->"
_DIRECTIONS = {
    "interpose": "Responses to Chat",
    "interpose-passing": "Responses to Responses",
    "interpose-to-messages": "Responses to Messages",
    "interpose-chat-to-messages": "Chat to Messages",
    "interpose-from-messages": "Messages to Chat",
}
_NAMES = {
    "first": "time to first delta",
    "total": "total",
    "proxy": "CPU of the proxy",
    "recorder": "CPU of the recorder",
}
_HEAD = ("against", "direction", "body", *_NAMES.values(), "upstream alone")


@dataclass(frozen=True)
class Row:
    """A case against a revision; ``alone`` is the total without a chain over that with this one."""

    against: str
    direction: str
    body: str
    figures: Mapping[str, Estimate | None]
    alone: float

    def cells(self, bold: str) -> list[str]:
        """The texts of the row; ``bold`` is a template for what is missed."""
        figures = []
        for figure in FIGURES:
            estimate = self.figures[figure]
            text = str(estimate) if estimate else "–"
            figures.append(bold.format(text) if estimate and estimate.missed else text)
        return [self.against, self.direction, self.body, *figures, f"{self.alone:.0%}"]


def rows(results: Mapping[str, Any]) -> Iterator[Row]:
    """A row per direction, size and revision."""
    for case in results["cases"]:
        ours, *others = case["sides"].values()
        names = [name for name in case["sides"] if name != THIS]
        alone = statistics.median(case["alone"]) / statistics.median(ours["total"])
        for name, theirs in zip(names, others, strict=True):
            figures = {f: compared(ours[f], theirs[f]) for f in FIGURES}
            yield Row(name, _DIRECTIONS[case["direction"]], label(case["size"]), figures, alone)


def missed(results: Mapping[str, Any]) -> list[str]:
    """What is slower or dearer than it was, a sentence each."""
    return [
        f"{_NAMES[figure]}, {row.direction} at {row.body}: {estimate} times {row.against}"
        for row in rows(results)
        for figure, estimate in row.figures.items()
        if estimate and estimate.missed
    ]


def summary(results: Mapping[str, Any]) -> str:
    """What the table's figures are, a sentence or two."""
    pairs = results["pairs"]
    said = f"This tree as multiples of the other commit, median of {pairs} interleaved pairs"
    if pairs < FEWEST:
        return f"{said}; below {FEWEST} pairs there is no interval, and no miss."
    return f"{said}, 95 % confidence interval in brackets; wholly above {LIMIT} it is a miss."


def tables(results: Mapping[str, Any]) -> Iterator[Table]:
    """The rows for the terminal, a table per revision."""
    for name in dict.fromkeys(row.against for row in rows(results)):
        made = Table(title=f"against {name}", show_lines=True)
        for column in _HEAD[1:]:
            made.add_column(column)
        for row in rows(results):
            if row.against == name:
                cells = row.cells("[bold red]{}[/]")[1:]
                made.add_row(*(cell.replace(" (", "\n(") for cell in cells))
        yield made


def markdown(results: Mapping[str, Any]) -> str:
    """The rows for the page, misses in bold, and who is missing in them."""
    lines = [summary(results), "", f"| {' | '.join(_HEAD)} |", f"|{'---|' * len(_HEAD)}"]
    lines += [f"| {' | '.join(row.cells('**{}**'))} |" for row in rows(results)]
    lines += [f"\n{sentence}" for sentence in unavailable(results)]
    return "\n".join(lines)


def unavailable(results: Mapping[str, Any]) -> list[str]:
    """Which revisions were not measured where, and why."""
    return [
        f"{_DIRECTIONS[direction]}: {sentence}" if direction else sentence
        for direction, sentence in results["unavailable"]
    ]
