"""The result of the token benchmark as tables, and as a page with a picture."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.tokens.biller import Bill

#: What a cached token costs, as a share of the full price; the first counts, the others are told.
SHARES = {"automatic": (0.25, 0.1, 0.5), "breakpoints": (0.1,)}
BASE = "interpose, all off"
_DOCS = Path(__file__).resolve().parents[2] / "docs"
_BEGIN, _END = "<!-- measured -->", "<!-- end of measured -->"
_TITLES = {
    "automatic": "A provider that caches by itself (Chat Completions)",
    "breakpoints": "A provider that caches what is marked (Messages)",
}
Row = dict[str, Any]


def billed(row: Row, r: float) -> float:
    """The billed-equivalent input of one session, in tokens."""
    return sum(Bill(total, read, written).equivalent(r) for total, read, written in row["bills"])


def hits(rows: list[Row]) -> float:
    """Of what a turn repeats of the one before it, the share that was read from the cache."""
    read = repeated = 0
    for row in rows:
        bills = row["bills"]
        for before, bill in pairwise(bills):
            repeated += min(before[0], bill[0])
            read += min(bill[1], before[0])
    return read / max(1, repeated)


class Kind:
    """One kind of provider: its rows by route and task."""

    def __init__(self, result: dict[str, Any], kind: str) -> None:
        rows = [row for row in result["rows"] if row["kind"] == kind]
        self.kind = kind
        self.routes = list(dict.fromkeys(row["route"] for row in rows))
        self.tasks = list(dict.fromkeys(row["task"] for row in rows))
        self.found: dict[tuple[str, str], Row] = {(r["route"], r["task"]): r for r in rows}
        failed = {row["task"] for row in rows if row["failed"]}
        #: The tasks that every route brought to an end.
        self.common = [task for task in self.tasks if task not in failed]

    def of(self, route: str) -> list[Row]:
        """Its rows of the common tasks."""
        return [self.found[route, t] for t in self.common if (route, t) in self.found]

    def times(self, route: str, r: float) -> float | None:
        """How many times less it is billed than with everything off, in total."""
        own, base = (sum(billed(row, r) for row in self.of(name)) for name in (route, BASE))
        return base / own if own and base else None

    def cell(self, route: str, task: str) -> str:
        """One task over one route: times less, and what else is to be told."""
        row, base = self.found.get((route, task)), self.found.get((BASE, task))
        if row is None or base is None:
            return "–"
        if row["failed"] or base["failed"]:
            return "failed"
        r = SHARES[self.kind][0]
        other = "" if row["files"] == base["files"] else " (other files)"
        lower = " (fewer hits)" if hits([row]) < hits([base]) - 0.005 else ""
        return f"{billed(base, r) / billed(row, r):.2f}{other}{lower}"


def table(kind: Kind) -> list[str]:
    """How many times less each route is billed than the chain with everything off."""
    lines = ["| task | turns | " + " | ".join(kind.routes) + " |"]
    lines.append("|---|---|" + "---|" * len(kind.routes))
    for task in kind.tasks:
        base = kind.found.get((BASE, task))
        cells = [kind.cell(route, task) for route in kind.routes]
        lines.append(f"| {task} | {base['turns'] if base else 0} | " + " | ".join(cells) + " |")
    for r in SHARES[kind.kind]:
        found = [kind.times(route, r) for route in kind.routes]
        cells = ["–" if times is None else f"**{times:.2f}**" for times in found]
        lines.append(f"| all, a cached token at {r} | | " + " | ".join(cells) + " |")
    shares = [f"{hits(kind.of(route)):.1%}" for route in kind.routes]
    lines.append("| repeated input read from the cache | | " + " | ".join(shares) + " |")
    sent = [sum(b[0] for row in kind.of(route) for b in row["bills"]) for route in kind.routes]
    cells = [f"{n / 1e6:.2f} M" for n in sent]
    lines.append("| tokens sent | | " + " | ".join(cells) + " |")
    return lines


def kinds(result: dict[str, Any]) -> list[Kind]:
    """The kinds of provider in a result."""
    return [Kind(result, kind) for kind in dict.fromkeys(row["kind"] for row in result["rows"])]


def text(result: dict[str, Any]) -> str:
    """All tables."""
    parts = [f"Tokens by {result['tokenizer']}."]
    for kind in kinds(result):
        parts += ["", f"{_TITLES[kind.kind]}:", "", *table(kind)]
    return "\n".join(parts)


def picture(result: dict[str, Any]) -> str:
    """A bar per route: what is billed of what the chain is billed with everything off."""
    bars: list[str] = []
    y = 8
    for kind in kinds(result):
        bars.append(f'<text x="8" y="{y + 14}" class="t">{escape(_TITLES[kind.kind])}</text>')
        y += 26
        for route in kind.routes:
            times = kind.times(route, SHARES[kind.kind][0])
            if times is None:
                continue
            wide = 380 / times
            ours = "ours" if route.startswith("interpose") else "other"
            bars.append(f'<text x="8" y="{y + 13}">{escape(route)}</text>')
            bars.append(f'<rect x="250" y="{y}" width="{wide:.1f}" height="18" class="{ours}"/>')
            bars.append(f'<text x="{256 + wide:.0f}" y="{y + 13}">{1 / times:.0%}</text>')
            y += 24
        y += 14
    style = (
        "text{font:13px sans-serif;fill:#333}.t{font-weight:bold}.ours{fill:#2a7f62}"
        ".other{fill:#b0b0b0}svg{background:#fff}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 {y}" role="img">'
    name = "<title>Billed-equivalent input, of the chain's with everything off</title>"
    return "\n".join([head, name, f"<style>{style}</style>", *bars, "</svg>", ""])


def write_docs(result: dict[str, Any]) -> None:
    """Put the tables into docs/tokens.md, and the picture beside it."""
    page = _DOCS / "tokens.md"
    before, _, rest = page.read_text("utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text(f"{before}{_BEGIN}\n{text(result)}\n{_END}{after}", "utf-8")
    (_DOCS / "tokens.svg").write_text(picture(result), "utf-8")
