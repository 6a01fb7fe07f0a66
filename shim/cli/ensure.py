"""`interpose ensure`: a daemon that answers, then the client key on stdout and nothing else.

Codex runs this at its start, and again each minute that it is used; so the usual way, a daemon that
is up, imports next to nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ..daemon.files import Files, Settings, health

#: Seconds a daemon that is up has to say so; then it is asked with more patience.
_QUICK = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="the state folder, as `enable` wrote it"
    )


def run(args: argparse.Namespace) -> int:
    if args.state:
        os.environ["INTERPOSE_HOME"] = str(args.state)
    try:
        print(key(Files()))
    except Exception as e:
        from . import _one_line

        print(
            f"interpose: {_one_line(e)}; to use Codex without Interpose: interpose disable",
            file=sys.stderr,
        )
        return 1
    return 0


def key(files: Files) -> str:
    """The client key of a daemon that answers now. DaemonError when there is no such daemon."""
    who = files.who()
    if not (who and health(who["port"], _QUICK)):
        from ..daemon.control import start

        start(_settings(files), files)
    return files.key()


def _settings(files: Files) -> Settings:
    from .background import chosen, kept_settings

    return chosen(kept_settings(files), files)[0]
