"""`interpose home [DIR]`: an isolated CODEX_HOME, for the daemon or for `interpose serve`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from ..codex.home import CONFIG, keep_home, write_home
from ..codex.where import own_command, state_folder
from ..daemon.files import Files
from ..daemon.use import usual_model
from ..policy.load import load_policy
from .background import chosen, current_settings, notes, setting
from .chain import NOWHERE, Options, client_key
from .choice import DEMO, ONCE, for_chain


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
    parser.epilog = DEMO


def run(args: argparse.Namespace) -> int:
    folder = Path(args.folder).expanduser() if args.folder else default_home()
    files = Files()
    settings, choice = chosen(current_settings(files), files)
    if args.port is None:
        policy = load_policy(settings.policy)
        made = setting(settings, args.model, folder / CONFIG)
        home = keep_home(folder, made)
        told = notes(None if args.model else choice, made.model, policy, ONCE)
        head = f"# Made: {home}. Codex starts the daemon from there by itself:"
        exports = f"CODEX_HOME={shlex.quote(str(home))}"
    else:
        mine = args.port == settings.port
        file = Path(args.policy or settings.policy).expanduser().absolute()
        policy = load_policy(file)
        asked = args.model
        if mine and not asked:
            asked = usual_model(files, policy, settings.model)
        opts, note = for_chain(Options(file, NOWHERE, None, asked, ""), policy)
        told = [note] if note else []
        home = write_home(folder, opts.base_url(args.port), policy, opts.model)
        runs = "interpose start" if mine else f"interpose serve --port {args.port}"
        head = f"# Written: {home}. With the chain running ({runs}):"
        # The daemon wants its key, which that command prints.
        key = f'"$({shlex.join([*own_command(), "ensure"])})"' if mine else client_key(policy)
        exports = f"CODEX_HOME={shlex.quote(str(home))} INTERPOSE_KEY={key}"
    print(head)
    for note in told:
        print(f"# {note}")
    print(f"\nexport {exports}\ncodex")
    return 0


def default_home() -> Path:
    """The home that `interpose codex` uses, too."""
    return state_folder() / "codex"
