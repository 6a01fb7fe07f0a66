"""`interpose enable`: the user's own Codex goes through the daemon, until `interpose disable`."""

from __future__ import annotations

import argparse

from ..daemon import units
from .background import enable
from .choice import HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", metavar="NAME", help="the model Codex asks for; demo: the offline demo"
    )
    parser.add_argument(
        "--keep-key",
        action="store_true",
        help="write the model's key to the file env of the state folder, for later starts",
    )
    parser.add_argument(
        "--service",
        action="store_true",
        help="also have systemd or launchd keep the daemon up, from login on",
    )
    parser.epilog = (
        "Every comment and key of yours stays; what the block takes the place of becomes a comment,"
        " and comes back by `interpose disable`. Codex starts the daemon whenever it needs it. "
        f"{HELP}; where there is none of them, nothing is enabled."
    )


def run(args: argparse.Namespace) -> int:
    done = enable(args.model, keep=args.keep_key)
    how = "Enabled" if done.changed else "Enabled already"
    print(f"{how}: Codex asks for {done.model} through {done.settings.base_url} ({done.file})")
    for note in done.notes:
        print(note)
    if args.service:
        print(f"The service keeps the daemon up: {units.install()}")
    print("Back to how it was: interpose disable")
    return 0
