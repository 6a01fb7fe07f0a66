"""``python -m benchmarks.recording``: what recording adds to the chain's CPU, by turns of threads.

Two chains, one of which records, are asked the turns of the same conversations. Counted is the CPU
of the proxy itself, and of the proxy with the recorder beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from contextlib import ExitStack

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import page
from benchmarks.bodies import SOURCE, as_json, body, step_of
from benchmarks.commits import made_of
from benchmarks.load import one
from benchmarks.report import label
from benchmarks.systems import Chain, Direct, System, Unrecorded, ready, settle

SIZES = (20_000, 100_000, 500_000)
#: What recording may add to the chain's CPU where a model answers.
GOAL = 0.10
#: How the upstream answers: below which path, and how many threads are under way at once.
MODEL = "100 deltas a second"
PACES = {MODEL: ("/tokens", 4), "all that can be read": ("", 1)}
BEGIN, END = "<!-- recording: begin -->", "<!-- recording: end -->"
_ROOM = 4000


def turns_of(size: int, number: int, count: int) -> list[bytes]:
    """The turns of a thread that has ``size`` bytes at first: each adds a call and its output."""
    chance, value = random.Random(number), json.loads(body(size, number))
    made = []
    for turn in range(count):
        start, lines = chance.randrange(len(SOURCE) - 90), chance.randrange(5, 90)
        value["input"] += step_of(10_000 + turn, start, SOURCE[start : start + lines], _ROOM)
        made.append(as_json(value))
    return made


async def _ask(system: System, threads: dict[str, list[bytes]]) -> None:
    async def thread(name: str, turns: list[bytes]) -> None:
        for turn in turns:
            asked = system.asked(turn, system.model)
            await one(system.port, asked, system.key, system.path, system.marks, name)

    await asyncio.gather(*(thread(name, turns) for name, turns in threads.items()))


def used(systems: list[System], threads: dict[str, list[bytes]]) -> list[tuple[float, float]]:
    """CPU seconds of each system for all turns of ``threads``, which it is asked at the same time
    as the others: of the proxy, and with its recorder."""

    async def ask() -> None:
        await asyncio.gather(*(_ask(system, threads) for system in systems))

    before = [(system.cpu(own=True), settle(system)) for system in systems]
    asyncio.run(ask())
    # What has ended is written a moment later.
    time.sleep(0.2)
    found = []
    for system, (own, total) in zip(systems, before, strict=True):
        after = settle(system)
        found.append((system.cpu(own=True) - own, after - total))
    return found


def measure(
    systems: list[System], size: int, at_once: int, rounds: int, turns: int, progress: Progress
) -> list[tuple[float, float]]:
    """Per round, the shares that recording adds; a first round warms up."""
    found = []
    task = progress.add_task(label(size), total=rounds + 1)
    for number in range(rounds + 1):
        seeds = [100 * size + number * 64 + n for n in range(at_once)]
        threads = {f"t-{seed}": turns_of(size, seed, turns) for seed in seeds}
        if at_once > 1:
            # At a model's pace there is room for both, and what disturbs one disturbs the other.
            on, off = used(systems, threads)
        elif number % 2:
            on, off = (used([system], threads)[0] for system in systems)
        else:
            off, on = (used([system], threads)[0] for system in systems[::-1])
        if number:
            found.append((on[0] / max(off[0], 0.01) - 1, on[1] / max(off[1], 0.01) - 1))
        progress.advance(task)
    progress.remove_task(task)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recording", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="bytes")
    parser.add_argument("--rounds", type=int, default=6, help="measured rounds per size and pace")
    parser.add_argument("--turns", type=int, default=96, help="turns of a round")
    parser.add_argument("--check", action="store_true", help="exit 1 when the goal is missed")
    parser.add_argument("--write-docs", action="store_true", help="into docs/benchmarks.md")
    args = parser.parse_args()
    commit = made_of()
    table = Table(title="what recording adds to the chain's CPU: median, lowest to highest")
    for column in ("an answer has", "body", "in the proxy", "with the recorder"):
        table.add_column(column)
    lines = ["| an answer has | body | in the proxy's process | with the recorder's |"]
    lines.append("|---|---|---|---|")
    missed: list[str] = []
    with Progress(console=Console(stderr=True), transient=True) as progress, ExitStack() as stack:
        upstream = stack.enter_context(Direct(0))
        for pace, (path, at_once) in PACES.items():
            with ExitStack() as inner:
                systems: list[System] = []
                for kind in (Chain, Unrecorded):
                    made = kind(upstream.port)
                    made.pace = path
                    systems.append(inner.enter_context(made))
                    asyncio.run(ready(made))
                for size in args.sizes:
                    turns = -(-args.turns // at_once)
                    found = measure(systems, size, at_once, args.rounds, turns, progress)
                    added = statistics.median(total for _, total in found)
                    if pace == MODEL and added > GOAL:
                        missed.append(f"{added:.0%} at {label(size)}, goal {GOAL:.0%}")
                    cells = [
                        f"{statistics.median(v):+.0%} ({min(v):+.0%} to {max(v):+.0%})"
                        for v in zip(*found, strict=True)
                    ]
                    table.add_row(pace, label(size), *cells)
                    lines.append(f"| {pace} | {label(size)} | {' | '.join(cells)} |")
    Console().print(commit, table, sep="\n")
    if args.write_docs:
        page.put(BEGIN, END, commit, "\n".join(lines))
    for line in missed:
        print(f"missed: recording adds {line}")
    return 1 if missed and args.check else 0


if __name__ == "__main__":
    sys.exit(main())
