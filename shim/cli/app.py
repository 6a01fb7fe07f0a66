"""`interpose app [PATH]`: Codex Desktop, sent through the daemon."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..codex import launch
from ..codex.desktop import DesktopError, find_app, running
from . import UserError
from .background import enable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="PATH", help="a folder to begin a thread in"
    )
    parser.add_argument("--restart", action="store_true", help="if the app runs, start it anew")
    parser.epilog = "Codex's config becomes what `interpose enable` makes of it."


def run(args: argparse.Namespace) -> int:
    if sys.platform != "darwin":
        raise UserError(
            "Codex Desktop can be started from here on macOS only; elsewhere `interpose enable`,"
            " then start the app yourself"
        )
    folder = args.folder.expanduser().resolve() if args.folder else None
    if folder and not folder.is_dir():
        raise UserError(f"{args.folder} is no folder")
    try:
        app = find_app(None)
        ran = bool(running(app))
        done = enable(None)
        if ran and args.restart:
            launch.quit(app)
        launch.start(app, folder)
    except DesktopError as e:
        raise UserError(str(e)) from None
    print(f"Codex Desktop asks for {done.model} through {done.settings.base_url} ({done.file})")
    for note in done.notes:
        print(note)
    if ran and done.changed and not args.restart:
        print("It was running, and reads its config when it starts: interpose app --restart")
    return 0
