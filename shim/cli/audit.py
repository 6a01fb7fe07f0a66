"""``interpose audit``: what the journal tells of the exchanges, and whether it is still whole."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from pathlib import Path

from ..record.audit import Asked, NoJournal, exchanges, not_told, reading, since
from ..record.events import COLUMNS
from ..record.folder import default_folder
from ..record.journal import loose_ends
from ..record.verify import verify
from . import UsageError, UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        nargs="?",
        choices=["list", "verify", "head"],
        default="list",
        help="list the exchanges (default), verify the journal, or print its head",
    )
    parser.add_argument(
        "--journal",
        metavar="PATH",
        default=str(default_folder()),
        help="the journal, or the folder it is in (default: where recordings go)",
    )
    listed = parser.add_argument_group("list")
    listed.add_argument(
        "--session", metavar="ID", default="", help="how a session or thread begins or ends"
    )
    listed.add_argument(
        "--model", metavar="NAME", default="", help="a part of the model's name, asked for or used"
    )
    listed.add_argument("--since", metavar="TIME", help="30m, 2h, 3d, or 2026-11-21 (UTC)")
    listed.add_argument("--status", default="", help="ok, failed, lost, open, 429 or 5xx")
    listed.add_argument("--timeline", metavar="SESSION", help="one session as bars over time")
    form = listed.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    parser.add_argument_group("verify").add_argument(
        "--head",
        metavar="HEAD",
        action="append",
        default=[],
        help="what `interpose audit head` printed before; may be given several times",
    )


def run(args: argparse.Namespace) -> int:
    """Exit code 0; 1 when verify finds something; 2 where nothing can be read."""
    if args.head and args.what != "verify":
        raise UsageError("--head goes with verify: interpose audit verify --head HEAD")
    try:
        if args.what == "verify":
            return _verify(args)
        if args.what == "head":
            return _head(args)
        return _list(args)
    except NoJournal as e:
        raise UsageError(str(e)) from None


def _list(args: argparse.Namespace) -> int:
    now = time.time()
    try:
        begin = since(args.since, now) if args.since else 0.0
    except ValueError as e:
        raise UsageError(str(e)) from None
    session = args.timeline or args.session
    with reading(Path(args.journal)) as file:
        rows = exchanges(file, Asked(session, args.model, begin, args.status), now)
        gaps = not_told(file)
    if args.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    if args.csv:
        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return 0
    if not rows:
        raise UserError(f"{args.journal}: no such exchanges there")
    from rich.console import Console

    from .audit_view import table, timeline

    console = Console()
    console.print(timeline(rows, console.width) if args.timeline else table(rows))
    for at, count in gaps:
        console.print(f"{count} events before {time.ctime(at)} could not be written", style="red")
    return 0


def _verify(args: argparse.Namespace) -> int:
    with reading(Path(args.journal)) as file:
        found = verify(file, args.head)
    for problem in found.problems:
        print(problem)
    seen = f"{found.events:,} events in {found.segments:,} segments, {found.dropped:,} dropped"
    if found.problems:
        print(f"{seen}: {len(found.problems)} problems")
        return 1
    against = "" if args.head else " (a cut tail is found only with --head)"
    print(f"{seen}: nothing changed, moved or missing{against}")
    return 0


def _head(args: argparse.Namespace) -> int:
    with reading(Path(args.journal)) as file:
        ends = loose_ends(file)
    if not ends:
        raise UserError(f"{args.journal}: nothing in the journal yet")
    print(",".join(map(str, ends)))
    return 0
