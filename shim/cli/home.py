"""`interpose home [DIR]`: an isolated CODEX_HOME for a chain that `interpose serve` runs."""

from __future__ import annotations

import argparse
import os
import shlex

from ..codex.home import write_home
from ..policy.load import load_policy
from .chain import DEFAULT_POLICY


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        nargs="?",
        default="~/.interpose/codex",
        metavar="DIR",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--policy",
        metavar="FILE",
        default=os.environ.get("INTERPOSE_POLICY") or str(DEFAULT_POLICY),
        help="whose models go into the catalog (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=8080, help="the chain's port (default: 8080)")
    parser.add_argument("--model", metavar="NAME", help="the model Codex asks for")


def run(args: argparse.Namespace) -> int:
    policy = load_policy(args.policy)
    url = f"http://127.0.0.1:{args.port}/v1"
    home = write_home(args.folder, url, policy, args.model)
    print(f"# Written: {home}. With the chain running (interpose serve):\n")
    print(f"export CODEX_HOME={shlex.quote(str(home))} INTERPOSE_KEY=any")
    print("codex")
    return 0
