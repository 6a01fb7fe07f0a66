"""``interpose stats``: what recorded sessions cost; the flow files are read in addons."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from ..record.folder import default_folder
from .filters import add_filters, asked_of, passed_on

SCRIPT = Path(__file__).resolve().parents[2] / "addons" / "stats.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_shared(parser)
    parser.epilog = "Example: interpose stats flows/local"


def add_shared(parser: argparse.ArgumentParser) -> None:
    """What the command and the process behind it both take."""
    parser.add_argument(
        "flows",
        nargs="*",
        metavar="FLOW",
        default=[str(default_folder())],
        help="flow files, or folders of them (default: where recordings go)",
    )
    parser.add_argument("--plot", action="store_true", help="each session over its turns, too")
    add_filters(parser)


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 2 when there is nothing that can be read."""
    # mitmproxy reads flow files, and nothing in shim imports it: so a process of its own.
    asked_of(args, time.time())
    command = [sys.executable, str(SCRIPT), *passed_on(args), *(["--plot"] if args.plot else [])]
    return subprocess.run([*command, "--", *args.flows], check=False).returncode
