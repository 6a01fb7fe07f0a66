"""What recorded sessions cost: what ``interpose stats`` runs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console

from addons.flowfile import Unreadable, files, read
from shim.account.sessions import as_json, sessions, summed
from shim.cli.stats import add_shared
from shim.cli.stats_view import plot, table


def main() -> int:
    """2 when nothing can be read."""
    parser = argparse.ArgumentParser(prog="interpose stats")
    add_shared(parser)
    args = parser.parse_args()
    try:
        rows = [recorded.row for path in files(args.flows) for recorded in read(path)]
    except Unreadable as e:
        print(f"interpose: {e}", file=sys.stderr)
        return 2
    asked = (args.session or "").lstrip("…")
    found = [t for t in sessions(rows) if t.name.startswith(asked) or t.name.endswith(asked)]
    if not found:
        wanted = f"no session {args.session}" if args.session else "no recorded turns"
        print(f"interpose: {', '.join(args.flows)}: {wanted} there", file=sys.stderr)
        return 2
    if args.json:
        whole = {"sessions": [as_json(t) for t in found], "all": as_json(summed(found))}
        print(json.dumps(whole, indent=1, ensure_ascii=False))
        return 0
    console = Console()
    console.print(table(found))
    if args.plot or args.session:
        for turns in found:
            console.print(plot(turns, console.width))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        sys.exit(141)
