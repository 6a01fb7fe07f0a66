"""`interpose model`: which models there are for Codex, and which one it asks for."""

from __future__ import annotations

import argparse
import json

from ..codex import edit
from ..codex.catalog import models_of
from ..codex.where import config_file
from ..daemon.files import Files
from ..daemon.use import current_model, default_model
from ..policy.load import load_policy
from ..route import switch
from ..route.initial import lacks
from . import background
from .background import current_settings, running_settings, unset, write_block
from .choice import known


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
    known(model, load_policy(current_settings(files).policy))
    settings = running_settings(files)
    file, model, changed = write_block(settings, model)
    if changed:
        print(f"Codex asks for {model} from its next session on ({file})")
        if (now := switch.read(files.switched)) and now.instead:
            names = " or ".join(now.instead)
            print(f"Sessions already open go on with {model}, where they ask for {names}")
    else:
        print(f"Codex asks for {model} already ({file})")
    for note in background.lacks(model, load_policy(settings.policy), files):
        print(note)
    return 0


def _list(as_json: bool) -> int:
    files = Files()
    settings = current_settings(files)
    policy = load_policy(settings.policy)
    file = config_file()
    used = current_model(edit.read(file) or b"", str(file))
    models, missing = models_of(policy), unset(policy, files)
    lacking = {name: lacks(policy, name, missing) for name in {*models, *([used] if used else [])}}
    if as_json:
        rows = [
            {
                "slug": name,
                "provider": model.provider,
                "model": model.model or name,
                "context_window": model.context_window,
                "images": model.images,
                "reasoning": model.reasoning,
                "default": name == default_model(policy, settings.model),
                "in_use": name == used,
                "lacks": lacking[name],
            }
            for name, model in models.items()
        ]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    width = max(map(len, models), default=0)
    for name, model in models.items():
        notes = [f"{model.context_window:,} tokens", "images" if model.images else "no images"]
        notes += ["/".join(model.reasoning)] if model.reasoning else []
        notes += lacking[name]
        mark = "*" if name == used else " "
        print(f"{mark} {name:{width}}  {model.provider}: {', '.join(notes)}")
    if used and used not in models:
        print(" ".join([f"* {used}", *lacking[used]]))
    if not used:
        print("None is in use: Codex does not go through Interpose.")
    return 0
