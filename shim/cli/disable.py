"""`interpose disable`: Codex's config as it was, with what was edited in it meanwhile."""

from __future__ import annotations

import argparse

from ..codex import edit
from ..codex.where import config_file
from ..daemon import env, units
from ..daemon.files import Files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "The daemon goes on, if it runs; interpose stop ends it."


def run(args: argparse.Namespace) -> int:
    file = config_file()
    changed = edit.disable(file)
    if units.remove():
        print("Removed the service that kept the daemon up")
    kept = Files().environment
    if env.drop(kept):
        print(f"Taken out of {kept}: the key that `enable` had kept")
    if not changed:
        print(f"Nothing to take out: Codex does not go through Interpose ({file})")
        return 0
    print(f"Disabled: {file} is as it was" + ("" if file.exists() else ", that is, not there"))
    left = (edit.read(file) or b"").decode("utf-8", "replace")
    if "#interpose# " in left:
        print("What you have set anew since then stays; the old lines are `#interpose# ` comments.")
    return 0
