"""`interpose status`: the daemon, and what Codex's own config says."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from ..codex import edit
from ..codex.config import ConfigError, enabled
from ..codex.where import config_file
from ..daemon.files import DaemonError, Files, Status
from ..daemon.use import current_model
from ..policy.load import PolicyError, load_policy
from ..route.initial import lacks
from .background import unset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.epilog = "Exit code 0 when the daemon answers, 3 when it does not run or answer."


def run(args: argparse.Namespace) -> int:
    files = Files()
    now = files.status()
    file = config_file()
    raw, model, problem = b"", None, None
    try:
        raw = edit.read(file) or b""
        model = current_model(raw, str(file))
    except ConfigError as e:
        problem = str(e)
    on = enabled(raw)
    lacking = _lacks(model, now, files) if on and model else []
    if args.json:
        codex = {"config": str(file), "enabled": on, "model": model, "lacks": lacking}
        codex |= {"error": problem}
        print(json.dumps({"daemon": asdict(now), "codex": codex}, indent=1))
        return 0 if now.answers else 3
    if now.answers:
        print(f"daemon  process {now.pid} on 127.0.0.1:{now.port}, {now.answers}")
        print(f"policy  {now.policy}")
        for problem in now.problems:
            print(f"problem {problem}")
    elif now.running:
        where = f"127.0.0.1:{now.port}"
        print(f"daemon  process {now.pid} does not answer on {where}; `interpose restart`,")
        print(f"        and why it does not is told in {now.log}")
    else:
        print("daemon  does not run")
    if problem:
        print(f"codex   {problem}")
    elif on:
        print(f"codex   goes through Interpose, model {model} ({file})")
        for why in lacking:
            print(f"key     {why} {'where the daemon runs' if now.answers else 'here'}")
    else:
        print(f"codex   does not go through Interpose ({file})")
    return 0 if now.answers else 3


def _lacks(model: str, now: Status, files: Files) -> list[str]:
    """What keeps the model from answering, as far as that can be told."""
    if not now.policy or (now.running and not now.answers):
        return []
    try:
        policy = load_policy(now.policy)
        return lacks(policy, model, unset(policy, files))
    except (DaemonError, PolicyError):
        return []
