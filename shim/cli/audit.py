"""``interpose audit``: what the journal tells of the exchanges, and whether it is still whole."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ..record.audit import NoJournal, exchanges, not_told, reading
from ..record.events import COLUMNS
from ..record.folder import default_folder
from ..record.journal import loose_ends
from ..record.verify import verify
from . import UsageError, UserError
from .filters import add_filters, asked_of, print_csv, print_json


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
    add_filters(parser)
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
    asked = asked_of(args, now)
    with reading(Path(args.journal)) as file:
        rows = exchanges(file, asked, now)
        gaps = not_told(file)
    if args.json:
        print_json(rows)
        return 0
    if args.csv:
        print_csv(rows, COLUMNS)
        return 0
    if not rows:
        raise UserError(f"{args.journal}: no such exchanges there")
    from .audit_view import by_session, table, timeline
    from .screen import Screen

    screen = Screen()
    if asked.session:
        for session in by_session(rows):
            screen.print(timeline(session, screen.bars))
    else:
        screen.print(table(rows, screen.room))
    for at, count in gaps:
        screen.print(f"{count} events before {time.ctime(at)} could not be written", style="red")
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
