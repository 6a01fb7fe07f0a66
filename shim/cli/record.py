"""``interpose record``: recordings made fit to be shared, and checked; the work is in addons."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from . import UsageError
from .filters import add_session

SCRIPT = Path(__file__).resolve().parents[2] / "addons" / "sanitise.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--sanitise", action="store_true", help="write the recordings with pseudonyms to --output"
    )
    what.add_argument(
        "--check", action="store_true", help="say what in the recordings must not be shared"
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="flow files, or folders of them")
    add_session(parser)
    parser.add_argument("-o", "--output", metavar="OUT", help="file, or folder for several")
    parser.add_argument(
        "--replace",
        action="append",
        default=[],
        metavar="PATTERN=TEXT",
        help="a rule of your own: what this regular expression finds becomes TEXT",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="a name that goes wherever it stands as a word: a user's, a machine's",
    )
    parser.add_argument(
        "--prompts",
        choices=("keep", "hide"),
        default="keep",
        help="hide: what users and instructions say is left out (default: keep)",
    )
    parser.add_argument(
        "--pictures",
        choices=("blank", "keep"),
        default="blank",
        help="keep: pictures stay as they are (default: blank)",
    )
    parser.epilog = (
        "Exit code 0 when the result may be shared, 1 when something is left, which is told."
    )


def rules(given: list[str]) -> list[tuple[re.Pattern[str], str]]:
    """The rules ``PATTERN=TEXT``; UsageError that names the one which is none."""
    made = []
    for rule in given:
        pattern, equals, text = rule.rpartition("=")
        try:
            made.append((re.compile(pattern), text))
        except re.error as e:
            raise UsageError(f"--replace {rule}: {e}") from None
        if not equals or not pattern:
            raise UsageError(f"--replace {rule}: say PATTERN=TEXT")
    return made


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when the files may be shared, 1 when something is left, 2 when unreadable."""
    if args.sanitise and not args.output:
        raise UsageError("--sanitise needs -o OUT: a recording is never changed in place")
    rules(args.replace)
    # mitmproxy reads flow files, and nothing in shim imports it: so a process of its own.
    command = [sys.executable, str(SCRIPT), "--check" if args.check else "--sanitise"]
    command += [f"--prompts={args.prompts}", f"--pictures={args.pictures}"]
    for name in ("replace", "name"):
        command += [f"--{name}={value}" for value in getattr(args, name)]
    for name in ("output", "session"):
        command += [f"--{name}={value}"] if (value := getattr(args, name)) else []
    return subprocess.run([*command, "--", *args.files], check=False).returncode
