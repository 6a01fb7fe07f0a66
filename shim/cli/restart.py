"""`interpose restart`: the daemon anew, as it was or with other options."""

from __future__ import annotations

import argparse

from ..daemon import control
from ..daemon.files import Files
from .background import add_daemon_arguments, chosen, say, settings
from .start import follow, tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_daemon_arguments(parser)
    parser.epilog = "Turns under way are cut off. An edited policy needs no restart."


def run(args: argparse.Namespace) -> int:
    files = Files()
    wanted, choice = chosen(settings(args, files), files)
    if files.who():
        say("ending the daemon")
    control.stop(files)
    control.start(wanted, files, say)
    follow()
    now = files.status()
    print(f"Restarted: process {now.pid} on 127.0.0.1:{now.port}, policy {now.policy}")
    tell(choice, files)
    return 0
