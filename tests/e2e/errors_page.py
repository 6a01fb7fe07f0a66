"""Writes the table of docs/errors.md from what the error tests have seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.e2e.clients import CODEX

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
BEGIN, END = "<!-- table:begin -->", "<!-- table:end -->"


@dataclass(frozen=True)
class Row:
    """`asked`: requests of the client; `reached`: those that came to the provider."""

    title: str
    asked: int
    reached: int
    seconds: float
    shown: str


def write_page(rows: list[Row]) -> None:
    """Put the table between the page's markers; the rest of the page stays."""
    head = "| upstream | requests by Codex | at the provider | time | what the user reads |"
    lines = [f"Codex {CODEX}, each failure lasting.", "", head, "|---|---|---|---|---|"]
    for row in rows:
        shown = " ".join(row.shown.split()).replace("|", "\\|")
        lines.append(
            f"| {row.title} | {row.asked} | {row.reached} | {time_class(row.seconds)} | {shown} |"
        )
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + "\n".join([BEGIN, "", *lines, "", END]) + after, encoding="utf-8")


def time_class(seconds: float) -> str:
    """A coarse time, so that the page does not change from run to run."""
    for limit in (3, 10, 30):
        if seconds < limit:
            return f"under {limit} s"
    return "over 30 s"
