"""`python -m benchmarks --against REV…`: sets commits up, measures, prints, says what is missed."""

from __future__ import annotations

import gc
import json
import sys
from argparse import Namespace
from typing import Any

from rich.console import Console
from rich.progress import Progress

from benchmarks import page
from benchmarks.against import report
from benchmarks.against.pairs import FEWEST
from benchmarks.against.run import THIS, Failed, Side, run
from benchmarks.commits import Revision, made_of, prepare, resolve, trim
from benchmarks.systems import DIRECTIONS, ROOT, Unavailable

RESULTS = ROOT / "benchmarks" / "results" / "against.json"
PAIRS, QUICK_PAIRS = 20, 10


def main(args: Namespace, sizes: list[int]) -> int:
    """What `python -m benchmarks --against` does, and its exit code.

    0; 2 when nothing could be compared; with ``args.check`` also 1 when something is missed, and 2
    when nothing is but a commit could not be measured everywhere.
    """
    pairs = args.pairs or (QUICK_PAIRS if args.quick else PAIRS)
    try:
        _agree(args, pairs)
        found = {revision.commit: revision for revision in map(resolve, args.against)}
    except Unavailable as e:
        print(f"benchmarks: {e}", file=sys.stderr)
        return 2
    console = Console(stderr=True)
    made = made_of()
    sides, lost = _set_up(list(found.values()), console)
    for sentence in lost:
        console.print(sentence, markup=False, soft_wrap=True)
    if len(sides) < 2:
        return 2
    directions = [name for name in DIRECTIONS if name in (args.only or DIRECTIONS)]
    # The client must not be what is measured: no collector beside it.
    gc.freeze()
    gc.disable()
    with Progress(console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("starting", total=pairs * len(directions))

        def tick(direction: str) -> None:
            progress.update(task, description=direction, advance=1, refresh=True)

        try:
            results = run(sides, directions, sizes, pairs, tick)
        except Failed as e:
            print(f"benchmarks: {e}", file=sys.stderr)
            return 2
    results["unavailable"] += [["", sentence] for sentence in lost]
    results |= {"made_of": made, "against": {r.short: r.name for r in found.values()}}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1))
    return _show(results, made, args)


def _agree(args: Namespace, pairs: int) -> None:
    """Unavailable when the options do not go together."""
    if wrong := [name for name in args.only or () if name not in DIRECTIONS]:
        raise Unavailable(
            f"--only {wrong[0]} is no direction of the chain: with --against it is one of "
            f"{', '.join(DIRECTIONS)}"
        )
    if args.check and pairs < FEWEST:
        raise Unavailable(f"--check needs --pairs {FEWEST}: fewer have no 95 % interval")


def _set_up(revisions: list[Revision], console: Console) -> tuple[list[Side], list[str]]:
    """This tree and the commits that could be set up, and a sentence for each other one."""
    sides, lost = [Side(THIS, ROOT)], []
    for revision in revisions:
        with console.status(f"setting up {revision.short}"):
            try:
                sides.append(Side(revision.short, prepare(revision)))
            except (Unavailable, OSError) as e:
                lost.append(f"{revision.short} cannot be started: {e}")
    if len(sides) > 1:
        trim(len(revisions))
    return sides, lost


def _show(results: dict[str, Any], made: str, args: Namespace) -> int:
    console = Console()
    for sentence in report.unavailable(results):
        console.print(sentence, markup=False, soft_wrap=True)
    if not results["cases"]:
        return 2
    console.print(made, markup=False)
    for table in report.tables(results):
        console.print(table)
    console.print(report.summary(results), markup=False)
    missed = report.missed(results)
    for sentence in missed:
        print(f"missed: {sentence}")
    if args.write_docs:
        page.put(report.BEGIN, report.END, made, report.markdown(results))
    if not args.check:
        return 0
    return 1 if missed else 2 if results["unavailable"] else 0
