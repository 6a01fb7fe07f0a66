"""`interpose uninstall`: Codex as it was, no daemon, none of our files."""

from __future__ import annotations

import argparse

from ..codex import edit
from ..codex.where import config_file
from ..daemon import control, env, units
from ..daemon.files import Files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Recordings, and the sessions of `interpose codex`, are yours and stay. Then remove the"
        " package itself: pip uninstall interpose"
    )


def run(args: argparse.Namespace) -> int:
    file, files = config_file(), Files()
    # First what matters most; if it fails, all is as before.
    if edit.disable(file):
        print(f"Disabled: {file} is as it was")
    if units.remove():
        print("Removed the service")
    if control.stop(files):
        print("Stopped the daemon")
    env.drop(files.environment)
    files.remove()
    if files.folder.is_dir():
        left = ", ".join(sorted(path.name for path in files.folder.iterdir()))
        print(f"Left: {files.folder}, with {left}")
    return 0
