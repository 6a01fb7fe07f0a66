"""``interpose replay``: recorded flow files through today's code; the work is in addons."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from .filters import add_session

SCRIPT = Path(__file__).resolve().parents[2] / "addons" / "replay.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to ``parser``."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="flow files, or folders of them")
    add_session(parser)
    parser.add_argument("--policy", help="policy to use instead of the recorded one")
    parser.add_argument("--default-model", help="as --set default_model of the chain")
    parser.add_argument(
        "--update", action="store_true", help="write what is different today into the files"
    )
    parser.add_argument(
        "--strict", action="store_true", help="fail where something could not be compared"
    )
    parser.add_argument("--json", action="store_true", help="the exchanges as JSON")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when every byte is as recorded, 1 on a difference, 2 on an unreadable file."""
    # mitmproxy reads flow files, and nothing in shim imports it: so a process of its own.
    command = [sys.executable, str(SCRIPT), *args.files]
    for name in ("session", "policy", "default_model"):
        if value := getattr(args, name):
            command += [f"--{name.replace('_', '-')}", value]
    command += [f"--{name}" for name in ("update", "strict", "json") if getattr(args, name)]
    return subprocess.run(command, check=False).returncode
