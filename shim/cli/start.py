"""`interpose start`: the daemon, in the background, or in the foreground for what keeps it up."""

from __future__ import annotations

import argparse

from ..codex import edit
from ..codex.config import enabled
from ..codex.where import config_file
from ..daemon import control
from ..daemon.files import Files
from ..daemon.run import run as become
from ..policy.load import load_policy
from ..route.initial import Choice
from .background import (
    add_daemon_arguments,
    chosen,
    current_settings,
    lacks,
    say,
    settings,
    words,
    write_block,
)
from .choice import DAILY, DEMO, line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_daemon_arguments(parser)
    parser.add_argument("--foreground", action="store_true", help="be the daemon; Ctrl-C ends it")
    parser.add_argument(
        "--wait",
        action="store_true",
        help="with --foreground: while another daemon runs, wait, and take over when it ends",
    )
    parser.epilog = DEMO


def run(args: argparse.Namespace) -> int:
    files = Files()
    wanted, choice = chosen(settings(args, files), files)
    if args.foreground:
        return become(words(wanted), wanted, files, args.wait)
    fresh = control.start(wanted, files, say)
    now = files.status()
    print(
        f"{'Started' if fresh else 'It runs already'}: process {now.pid}"
        f" on 127.0.0.1:{now.port}, policy {now.policy}"
    )
    follow()
    asked, has = ((s.port, s.policy, s.model) for s in (wanted, current_settings(files)))
    if asked[1:] == has[1:]:
        tell(choice, files)
    if asked != has:
        print("Other options take effect by `interpose restart`.")
    return 0


def follow() -> None:
    """Codex's config names the daemon's port; have it name the one there is now."""
    if enabled(edit.read(config_file()) or b""):
        write_block(current_settings(Files()), None)


def tell(choice: Choice | None, files: Files) -> None:
    """Say which model answers, where that was chosen for the user, and what it lacks."""
    if choice:
        policy = load_policy(current_settings(files).policy)
        for note in [line(choice, policy, DAILY), *lacks(choice.model, policy, files)]:
            print(note)
