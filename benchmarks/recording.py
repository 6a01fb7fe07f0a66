"""``python -m benchmarks.recording``: what recording adds to the chain's CPU, by turns of threads.

Two chains, one of which records, are asked the turns of the same conversations, in turn. Counted is
the CPU of the proxy itself, and of the proxy with the recorder beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import _ready, _settle
from benchmarks.bodies import body
from benchmarks.load import one
from benchmarks.report import label
from benchmarks.rules import grown
from benchmarks.systems import Chain, Direct, System, Unrecorded

SIZES = (20_000, 100_000, 500_000)
DOCS = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- recording: begin -->", "<!-- recording: end -->"


def measure(systems: list[System], size: int, threads: int, turns: int) -> dict[str, list[float]]:
    """Per kind of process, the share that recording adds in each thread."""
    found: dict[str, list[float]] = {"proxy": [], "all": []}
    for number in range(threads + 1):
        first = body(size, 100 * size + number)
        made = [grown(first, n) for n in range(turns)]
        used: dict[str, list[float]] = {"proxy": [], "all": []}
        for system in systems if number % 2 else systems[::-1]:
            before, own = _settle(system), system.cpu(own=True)
            for turn in made:
                asked = system.asked(turn, system.model)
                asyncio.run(
                    one(system.port, asked, system.key, system.path, system.marks, f"t-{number}")
                )
            time.sleep(0.2)
            used["all"].append(_settle(system) - before)
            used["proxy"].append(system.cpu(own=True) - own)
        # The first thread warms both up.
        if number:
            for kind, (a, b) in used.items():
                on, off = (b, a) if not number % 2 else (a, b)
                found[kind].append(on / max(off, 0.01) - 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recording", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="bytes")
    parser.add_argument("--threads", type=int, default=6, help="measured threads per size")
    parser.add_argument("--turns", type=int, default=80, help="turns of each")
    parser.add_argument("--write-docs", action="store_true", help="into docs/benchmarks.md")
    args = parser.parse_args()
    table = Table(title="what recording adds to the chain's CPU: median, lowest to highest")
    for column in ("body", "in the proxy", "with the recorder"):
        table.add_column(column)
    lines = ["| body | in the proxy's process | with the recorder's |", "|---|---|---|"]
    with ExitStack() as stack:
        upstream = stack.enter_context(Direct(0))
        systems = [stack.enter_context(kind(upstream.port)) for kind in (Chain, Unrecorded)]
        for system in systems:
            asyncio.run(_ready(system))
        for size in args.sizes:
            found = measure(list(systems), size, args.threads, args.turns)
            cells = [
                f"{statistics.median(v):+.0%} ({min(v):+.0%} to {max(v):+.0%})"
                for v in (found["proxy"], found["all"])
            ]
            table.add_row(label(size), *cells)
            lines.append(f"| {label(size)} | {' | '.join(cells)} |")
    Console().print(table)
    if args.write_docs:
        text = DOCS.read_text("utf-8")
        head, tail = text.partition(BEGIN)[0], text.partition(END)[2]
        DOCS.write_text(head + "\n".join([BEGIN, *lines, END]) + tail, "utf-8")


if __name__ == "__main__":
    main()
