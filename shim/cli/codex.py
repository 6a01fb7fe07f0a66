"""`interpose codex -- ARGS…`: Codex through the daemon, with a home of our own that stays."""

from __future__ import annotations

import argparse
import sys

from ..codex.find import codex
from ..codex.home import CONFIG, keep_home
from .background import ready
from .choice import DEMO, ONCE
from .home import default_home
from .run import client_environment, session

PASSES_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "interpose codex [options] -- ARGS…"
    parser.add_argument("--model", metavar="NAME", help="the model to use, or PROVIDER:model")
    parser.epilog = (
        f"{DEMO} "
        "Its sessions stay, so `interpose codex -- resume` finds them. For a chain of its own that"
        " leaves nothing behind there is `interpose run`."
    )


def run(args: argparse.Namespace) -> int:
    client = codex(lambda line: print(f"interpose: {line}", file=sys.stderr))
    folder = default_home()
    _, made, notes = ready(args.model, folder / CONFIG, another=ONCE, demo=True)
    for note in notes:
        print(f"interpose: {note}", file=sys.stderr)
    home = keep_home(folder, made)
    return session([str(client), *args.rest], client_environment(home))
