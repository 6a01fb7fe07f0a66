"""Writes the table of docs/errors.md from what the error tests have seen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.clients import CODEX

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
BEGIN, END = "<!-- table:begin -->", "<!-- table:end -->"


@dataclass(frozen=True)
class Shown:
    """What one run came to: the client's requests (0: not known), and what its user read last."""

    asked: int
    seconds: float
    text: str


@dataclass(frozen=True)
class Row:
    """A failure through the chain and without it; `reached`: the requests at the provider."""

    title: str
    chain: Shown
    reached: int
    direct: Shown


def write_page(rows: list[Row]) -> None:
    """Put the table between the page's markers; the rest of the page stays."""
    lines = [
        f"Codex {CODEX}, each failure lasting; the provider is called `acme`.",
        "",
        "| upstream | requests by Codex | at the provider | time | what the user reads "
        "| without the chain |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        chain, direct = row.chain, row.direct
        asked = f"{direct.asked} requests" if direct.asked > 1 else "1 request"
        without = [asked] if direct.asked else []
        without += [time_class(direct.seconds), _one_line(direct.text)]
        cells = [row.title, str(chain.asked), str(row.reached), time_class(chain.seconds)]
        lines.append("| " + " | ".join([*cells, _one_line(chain.text), ", ".join(without)]) + " |")
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + "\n".join([BEGIN, "", *lines, "", END]) + after, encoding="utf-8")


def _one_line(shown: str) -> str:
    text = " ".join(shown.split()).replace("|", "\\|").replace("<", "&lt;")
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    return f"“{text}”" if len(text) <= 300 else f"“{text[:300]} …”"


def time_class(seconds: float) -> str:
    """A coarse time, so that the page does not change from run to run."""
    for limit in (3, 10, 30):
        if seconds < limit:
            return f"under {limit} s"
    return "over 30 s"
