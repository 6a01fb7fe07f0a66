"""What recorded sessions cost: what ``interpose stats`` runs."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec

from addons.flowfile import Unreadable, files, read
from addons.one_session import of_session
from shim.account.sessions import as_json, sessions, summed
from shim.cli.filters import asked_of, print_csv, print_json
from shim.cli.pipe import printing
from shim.cli.screen import Screen
from shim.cli.stats import add_shared
from shim.cli.stats_view import plot, table
from shim.record.asked import as_columns


def main() -> int:
    """2 when nothing can be read."""
    parser = argparse.ArgumentParser(prog="interpose stats")
    add_shared(parser)
    args = parser.parse_args()
    session = args.session
    asked = msgspec.structs.replace(asked_of(args, time.time()), session="")
    try:
        recorded = [found for path in files(args.flows) for found in read(path)]
        if session and recorded:
            recorded = of_session(recorded, session)
    except Unreadable as e:
        print(f"interpose: {e}", file=sys.stderr)
        return 2
    rows = [found.row for found in recorded if asked.wants(as_columns(found.row, found.at))]
    if not rows:
        wanted = "no such turns" if recorded else "no recorded turns"
        print(f"interpose: {', '.join(args.flows)}: {wanted} there", file=sys.stderr)
        return 2
    found = sessions(rows)
    if args.json:
        print_json({"sessions": [as_json(t) for t in found], "all": as_json(summed(found))})
        return 0
    if args.csv:
        print_csv(map(as_json, found), [name for name in as_json(found[0]) if name != "per_turn"])
        return 0
    screen = Screen()
    screen.print(table(found, screen.room))
    if args.plot or args.session:
        for turns in found:
            screen.print(plot(turns, screen.bars))
    return 0


if __name__ == "__main__":
    sys.exit(printing(main))
