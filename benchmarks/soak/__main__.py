"""`python -m benchmarks.soak`: hours of many sessions, their clock sped up; what grew, what not."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import page
from benchmarks.commits import made_of
from benchmarks.soak.run import Found, Plan, run
from benchmarks.systems import Unavailable

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=24, help="on the chain's clock")
    parser.add_argument("--sessions", type=int, default=50, help="side by side")
    parser.add_argument("--mitmweb", action="store_true", help="in mitmweb instead of mitmdump")
    parser.add_argument("--write-docs", action="store_true", help="into docs/benchmarks.md")
    args = parser.parse_args()
    tool = "mitmweb" if args.mitmweb else "mitmdump"
    made = made_of()
    try:
        found = asyncio.run(run(Plan(args.hours, args.sessions, tool)))
    except Unavailable as e:
        print(f"not soaked: {e}", file=sys.stderr)
        return 2
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"soak-{tool}.json").write_bytes(msgspec.json.encode(found))
    show(found)
    if args.write_docs:
        write_docs(found, tool, made)
    return 1 if found.failed else 0


def show(found: Found) -> None:
    console = Console()
    table = Table("figure", "value")
    for name, value in found.figures.items():
        table.add_row(name, value)
    console.print(table)
    for name, said in found.checks.items():
        console.print(f"{'missed' if name in found.failed else 'kept'}: {name}: {said}")
    for said in found.wrong[:5]:
        console.print(f"a wrong answer: {said}", markup=False)


def write_docs(found: Found, tool: str, made: str) -> None:
    """Put the figures into docs/benchmarks.md, those of ``tool``."""
    begin, end = f"<!-- soak {tool} -->", f"<!-- end of soak {tool} -->"
    lines = [f"| under `{tool}` | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in found.figures.items()]
    page.put(begin, end, made, "\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
