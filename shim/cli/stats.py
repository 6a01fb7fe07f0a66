"""``interpose stats``: what recorded sessions cost; the flow files are read in addons."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from ..record.folder import default_folder

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
    parser.add_argument(
        "--session", metavar="ID", help="only this session: its id, or how that begins or ends"
    )
    parser.add_argument("--plot", action="store_true", help="each session over its turns, too")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 2 when there is nothing that can be read."""
    # mitmproxy reads flow files, and nothing in shim imports it: so a process of its own.
    command = [sys.executable, str(SCRIPT)]
    command += ["--session", args.session] if args.session else []
    command += [f"--{name}" for name in ("plot", "json") if getattr(args, name)]
    return subprocess.run([*command, "--", *args.flows], check=False).returncode
