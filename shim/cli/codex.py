"""`interpose codex -- ARGS…`: Codex through the daemon, with a home of our own that stays."""

from __future__ import annotations

import argparse
import sys

from ..codex.find import codex
from ..codex.home import CONFIG, keep_home
from .background import Files, running_settings, setting
from .home import default_home
from .run import client_environment, session

PASSES_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "interpose codex [options] -- ARGS…"
    parser.add_argument("--model", metavar="NAME", help="the model to use, or PROVIDER:model")
    parser.epilog = (
        "Its sessions stay, so `interpose codex -- resume` finds them. For a chain of its own that"
        " leaves nothing behind there is `interpose run`."
    )


def run(args: argparse.Namespace) -> int:
    client = codex(lambda line: print(f"interpose: {line}", file=sys.stderr))
    folder = default_home()
    home = keep_home(folder, setting(running_settings(Files()), args.model, folder / CONFIG))
    return session([str(client), *args.rest], client_environment(home))
