"""`interpose stop`: ends the daemon."""

from __future__ import annotations

import argparse

from ..codex import edit
from ..codex.config import enabled
from ..codex.where import config_file
from ..daemon import control
from ..daemon.files import Files
from .background import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Turns under way are cut off. Exit code 0, also when there was no daemon."


def run(args: argparse.Namespace) -> int:
    files = Files()
    if files.who():
        say("ending the daemon")
    print("Stopped." if control.stop(files) else "No daemon runs.")
    if enabled(edit.read(config_file()) or b""):
        print("Codex starts it again with its next session; `interpose disable` ends that.")
    return 0
