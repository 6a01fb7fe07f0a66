"""`interpose home [DIR]`: an isolated CODEX_HOME, for the daemon or for `interpose serve`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from ..codex.home import CONFIG, keep_home, write_home
from ..codex.where import state_folder
from ..daemon.files import Files
from ..policy.load import load_policy
from .background import kept_settings, setting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", metavar="DIR", help="(default: codex in the state folder)"
    )
    parser.add_argument(
        "--policy",
        metavar="FILE",
        help="with --port: whose models go into the catalog (default: the daemon's)",
    )
    parser.add_argument(
        "--port", type=int, help="a home for a chain of `interpose serve` on that port"
    )
    parser.add_argument("--model", metavar="NAME", help="the model Codex asks for")


def run(args: argparse.Namespace) -> int:
    folder = Path(args.folder).expanduser() if args.folder else default_home()
    settings = kept_settings(Files())
    if args.port is None:
        home = keep_home(folder, setting(settings, args.model, folder / CONFIG))
        print(f"# Made: {home}. Codex starts the daemon from there by itself:\n")
        print(f"export CODEX_HOME={shlex.quote(str(home))}")
    else:
        policy = load_policy(args.policy or settings.policy)
        home = write_home(folder, f"http://127.0.0.1:{args.port}/v1", policy, args.model)
        print(f"# Written: {home}. With the chain running (interpose serve --port {args.port}):\n")
        print(f"export CODEX_HOME={shlex.quote(str(home))} INTERPOSE_KEY=any")
    print("codex")
    return 0


def default_home() -> Path:
    """The home that `interpose codex` uses, too."""
    return state_folder() / "codex"
