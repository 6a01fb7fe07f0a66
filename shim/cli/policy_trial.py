"""``interpose policy explain`` and ``diff``: what they take; the work is in addons."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from .filters import add_session

SCRIPT = Path(__file__).resolve().parents[2] / "addons" / "trial.py"


def add_explain(commands: Any) -> None:
    """Add ``explain`` to the subparsers ``commands``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "explain", help="what was decided about recorded exchanges, and why"
    )
    parser.add_argument("flows", nargs="+", metavar="FLOW", help="flow files, or folders of them")
    add_session(parser)
    parser.add_argument("--exchange", metavar="ID", help="only the exchange with this id")
    parser.add_argument("--policy", help="also what this policy would decide")
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_diff(commands: Any) -> None:
    """Add ``diff`` to the subparsers ``commands``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "diff", help="what a new policy would have changed on recorded traffic"
    )
    parser.add_argument("old", metavar="OLD", help="policy file")
    parser.add_argument("new", metavar="NEW", help="policy file")
    parser.add_argument("flows", nargs="+", metavar="FLOW", help="flow files, or folders of them")
    parser.add_argument("--default-model", help="as --set default_model of the chain")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when all is as before, 1 on a difference, 2 on an unreadable file."""
    # mitmproxy reads flow files, and nothing in shim imports it: so a process of its own.
    command = [sys.executable, str(SCRIPT), args.what]
    command += [args.old, args.new] if args.what == "diff" else []
    for name in ("session", "exchange", "policy", "default_model"):
        if value := getattr(args, name, None):
            command += [f"--{name.replace('_', '-')}", value]
    command += ["--json"] if args.json else []
    return subprocess.run([*command, "--", *args.flows], check=False).returncode
