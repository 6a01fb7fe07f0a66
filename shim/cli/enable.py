"""`interpose enable`: the user's own Codex goes through the daemon, until `interpose disable`."""

from __future__ import annotations

import argparse

from ..daemon import units
from ..daemon.files import Files
from .background import running_settings, write_block


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="the model Codex asks for at first")
    parser.add_argument(
        "--service",
        action="store_true",
        help="also have systemd or launchd keep the daemon up, from login on",
    )
    parser.epilog = (
        "Every comment and key of yours stays; what the block takes the place of becomes a comment,"
        " and comes back by `interpose disable`. Codex starts the daemon whenever it needs it."
    )


def run(args: argparse.Namespace) -> int:
    # First the daemon: a config that leads nowhere is written for nobody.
    settings = running_settings(Files())
    file, model, changed = write_block(settings, args.model)
    how = "Enabled" if changed else "Enabled already"
    print(f"{how}: Codex asks for {model} through {settings.base_url} ({file})")
    if args.service:
        print(f"The service keeps the daemon up: {units.install()}")
    print("Back to how it was: interpose disable")
    return 0
