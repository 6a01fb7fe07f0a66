"""`make bench`: one run over all systems, interleaved; prints ratios, never bare times."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import page, report
from benchmarks.against import command
from benchmarks.bodies import body
from benchmarks.commits import made_of
from benchmarks.load import burst
from benchmarks.systems import (
    ALL,
    DIRECTIONS,
    PEER_NAMES,
    Direct,
    System,
    Unavailable,
    ready,
    settle,
)

RESULTS = Path(__file__).parent / "results" / "latest.json"
SIZES = (1_000, 100_000, 500_000, 2_000_000)


def _start_times(names: list[str], upstream: int, rounds: int, tick: Any) -> dict[str, list[float]]:
    """Seconds from the command to the end of the first answer, interleaved."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            system = (ALL | DIRECTIONS)[name](upstream)
            try:
                begun = time.monotonic()
                system.start()
                system.wait()
                asyncio.run(ready(system))
                found[name].append(time.monotonic() - begun)
            finally:
                system.__exit__()
            tick()
    return found


def _case(
    systems: list[System], size: int, concurrency: int, rounds: int, requests: int, tick: Any
) -> dict[str, Any]:
    """Rounds of the same work for each system in turn; medians of each round."""
    measured: dict[str, dict[str, list[float]]] = {
        s.name: {"first": [], "total": [], "cpu": []} for s in systems
    }
    for number in range(rounds + 1):
        made = [
            [body(size, number * 1000 + n * 16 + c) for c in range(concurrency)]
            for n in range(requests)
        ]
        first_one = number % len(systems)
        for system in systems[first_one:] + systems[:first_one]:
            first, total = [], []
            asked = [[system.asked(b, system.model) for b in bodies] for bodies in made]
            before = settle(system)
            for bodies in asked:
                found = asyncio.run(
                    burst(system.port, bodies, system.key, system.path, system.marks)
                )
                for sample in found:
                    first.append(sample.first)
                    total.append(sample.total)
            cpu = (settle(system) - before) / (requests * concurrency)
            # The first round warms everybody up.
            if number:
                kept = measured[system.name]
                kept["first"].append(statistics.median(first))
                kept["total"].append(statistics.median(total))
                kept["cpu"].append(max(cpu, 1e-4))
            tick()
    return {"size": size, "concurrency": concurrency, "systems": measured}


def run(sizes: list[int], rounds: int, starts: int, names: list[str]) -> dict[str, Any]:
    """Everything measured, with plain figures; ratios are made of it by ``report``."""
    results: dict[str, Any] = {"rounds": rounds, "cases": [], "unavailable": {}, "peak": {}}
    console = Console(stderr=True)
    # The client must not be what is measured: no collector, no thread that draws.
    gc.freeze()
    gc.disable()
    with (
        Progress(console=console, transient=True, auto_refresh=False) as progress,
        ExitStack() as stack,
    ):
        upstream = stack.enter_context(Direct(0))
        systems: list[System] = [upstream]
        task = progress.add_task("starting", total=None)
        for name in names:
            try:
                system = stack.enter_context((ALL | DIRECTIONS)[name](upstream.port))
                asyncio.run(ready(system))
                systems.append(system)
            except Unavailable as e:
                results["unavailable"][name] = str(e)
                console.print(f"{name} left out: {e}")
        shapes = [(size, c) for size in sizes for c in (1, 16)]
        progress.update(task, total=len(shapes) * (rounds + 1) * len(systems))
        for size, concurrency in shapes:
            progress.update(task, description=f"{report.label(size)}, {concurrency} at once")
            requests = (16 if size < 1_000_000 else 8) if concurrency == 1 else 2

            def tick() -> None:
                progress.advance(task)
                progress.refresh()

            results["cases"].append(_case(systems, size, concurrency, rounds, requests, tick))
        results["peak"] = {system.name: system.peak() for system in systems}
        running = [s.name for s in systems if s.name != upstream.name]
        task = progress.add_task("starts", total=starts * len(running))
        results["start"] = _start_times(
            running, upstream.port, starts, lambda: progress.advance(task)
        )
    return results


def show(results: dict[str, Any]) -> None:
    """The ratios on the terminal."""
    table = Table(title=f"multiples of bare {report.FLOOR}, medians of {results['rounds']} rounds")
    for column in ("body", "at once", "system", "first delta", "total", "CPU"):
        table.add_column(column)
    for row in report.rows(results):
        if row["system"] != report.FLOOR:
            figures = (f"{row[f][0]:.2f}" for f in ("first", "total", "cpu"))
            table.add_row(
                report.label(row["size"]), str(row["concurrency"]), row["system"], *figures
            )
    console = Console()
    console.print(table)
    floor = results["start"][report.FLOOR]
    for name, times in results["start"].items():
        memory = results["peak"][name] / results["peak"][report.FLOOR]
        start = report.ratio(times, floor)[0]
        console.print(f"{name}: first answer after {start:.2f}x, peak memory {memory:.2f}x")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes")
    parser.add_argument("--no-peers", action="store_true", help="without litellm and opencodex")
    names = list(ALL | DIRECTIONS)
    parser.add_argument("--only", nargs="+", metavar="SYSTEM", choices=names, help="only these")
    parser.add_argument("--sizes", type=_count, nargs="+", help="body sizes in bytes")
    parser.add_argument("--rounds", type=_count, help="measured rounds per case")
    parser.add_argument("--check", action="store_true", help="exit 1 when a goal is missed")
    parser.add_argument("--write-docs", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument(
        "--against", nargs="+", metavar="REV", help="compare this tree with these commits instead"
    )
    parser.add_argument("--pairs", type=_count, help="with --against: pairs per case")
    args = parser.parse_args()
    if args.against and (args.rounds or args.no_peers):
        parser.error("--against counts --pairs, not --rounds, and has no peers")
    if args.pairs and not args.against:
        parser.error("--pairs is for --against")
    return args


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def main() -> int:
    args = _arguments()
    sizes = args.sizes or ([1_000, 500_000] if args.quick else list(SIZES))
    if args.against:
        return command.main(args, sizes)
    rounds = args.rounds or (3 if args.quick else 7)
    names = [n for n in ALL if n != Direct.name and not (args.no_peers and n in PEER_NAMES)]
    if args.only:
        asked = [n for n in ALL | DIRECTIONS if n in (report.FLOOR, report.OURS, *args.only)]
        names = [n for n in asked if n != Direct.name]
    made = made_of()
    results = {"made_of": made, **run(sizes, rounds, 2 if args.quick else 5, names)}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1))
    print(made)
    show(results)
    if args.write_docs:
        page.put(report.BEGIN, report.END, made, report.markdown(results))
    for line in report.recording(results):
        print(line)
    failed = report.missed(results)
    for line in failed:
        print(f"missed: {line}")
    return 1 if failed and args.check else 0


if __name__ == "__main__":
    sys.exit(main())
