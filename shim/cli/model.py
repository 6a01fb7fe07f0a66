"""`interpose model`: which models there are for Codex, and which one it asks for."""

from __future__ import annotations

import argparse
import json

from ..codex import edit
from ..codex.catalog import models_of
from ..codex.where import config_file
from ..daemon.files import Files
from ..daemon.use import current_model, first_model
from ..policy.load import load_policy
from ..route import switch
from .background import kept_settings, running_settings, write_block


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    listed = commands.add_parser("list", help="the models, with a * at the one in use")
    listed.add_argument("--json", action="store_true", help="print JSON")
    use = commands.add_parser("use", help="have this one answer from now on")
    use.add_argument("model", metavar="SLUG", help="a model of the policy, or PROVIDER:model")


def run(args: argparse.Namespace) -> int:
    return _use(args.model) if args.what == "use" else _list(args.json)


def _use(model: str) -> int:
    files = Files()
    settings = running_settings(files)
    file, model, changed = write_block(settings, model)
    if not changed:
        print(f"Codex asks for {model} already ({file})")
        return 0
    print(f"Codex asks for {model} from its next session on ({file})")
    if (now := switch.read(files.switched)) and now.instead:
        names = " or ".join(now.instead)
        print(f"Sessions already open go on with {model}, where they ask for {names}")
    return 0


def _list(as_json: bool) -> int:
    policy = load_policy(kept_settings(Files()).policy)
    file = config_file()
    used = current_model(edit.read(file) or b"", str(file))
    models = models_of(policy)
    if as_json:
        rows = [
            {
                "slug": name,
                "provider": model.provider,
                "model": model.model or name,
                "context_window": model.context_window,
                "images": model.images,
                "reasoning": model.reasoning,
                "default": name == first_model(policy),
                "in_use": name == used,
            }
            for name, model in models.items()
        ]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    width = max(map(len, models), default=0)
    for name, model in models.items():
        notes = [f"{model.context_window:,} tokens", "images" if model.images else "no images"]
        notes += ["/".join(model.reasoning)] if model.reasoning else []
        mark = "*" if name == used else " "
        print(f"{mark} {name:{width}}  {model.provider}: {', '.join(notes)}")
    if used and used not in models:
        print(f"* {used}")
    if not used:
        print("None is in use: Codex does not go through Interpose.")
    return 0
