"""`interpose generate [DIR]`: Codex's config and catalog, to look at; nothing is changed."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from ..codex import config, edit
from ..codex.bundled import bundled
from ..codex.catalog import catalog, merged
from ..codex.find import codex
from ..codex.home import CATALOG, CONFIG
from ..codex.where import config_file
from ..daemon.files import Files
from ..policy.load import load_policy
from . import UserError
from .background import chosen, current_settings, for_codex, say
from .choice import HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="DIR", help="where both go (else they are printed)"
    )
    parser.add_argument("--model", metavar="NAME", help="the model Codex asks for at first")
    parser.add_argument("--json", action="store_true", help="print the catalog only")
    parser.add_argument(
        "--with",
        dest="wanted",
        action="append",
        default=[],
        metavar="SLUG",
        help="add this one of Codex's own models to the catalog; may be repeated; `all`: each",
    )
    parser.epilog = (
        f"{HELP}. {CONFIG} is yours with the block that `enable` would write. {CATALOG} is for a"
        " config that names it in model_catalog_json: then Codex lists these models and no others."
    )


def run(args: argparse.Namespace) -> int:
    files = Files()
    settings, _ = chosen(current_settings(files), files)
    file = config_file()
    raw = edit.read(file)
    wanted = for_codex(settings, args.model, file)
    text = config.apply(raw or b"", wanted, str(file), new=raw is None)
    listed = catalog(load_policy(Path(settings.policy)), [wanted.model])
    if args.wanted:
        listed = _with_codexs_own(listed, args.wanted)
    models = json.dumps(listed, ensure_ascii=False, indent=1) + "\n"
    if args.folder:
        folder = args.folder.expanduser().absolute()
        if (folder / CONFIG).resolve() == file.resolve():
            raise UserError(f"{folder} is Codex's own home; interpose enable changes that")
        edit.write(folder / CONFIG, text)
        edit.write(folder / CATALOG, models.encode())
        print(f"Written: {folder / CONFIG}, {folder / CATALOG}")
        return 0
    if not args.json:
        print(f"# {file}\n{text.decode('utf-8-sig')}\n# {CATALOG}")
    print(models, end="")
    return 0


def _with_codexs_own(listed: dict, wanted: list[str]) -> dict:
    client = codex(say)
    with tempfile.TemporaryDirectory(prefix="interpose-", ignore_cleanup_errors=True) as home:
        own = bundled(client, Path(home), dict(os.environ))
    names = [entry["slug"] for entry in own]
    if "all" in wanted:
        wanted = names
    try:
        return merged(listed, own, wanted)
    except KeyError as e:
        raise UserError(f"Codex has no model {e.args[0]}; it has {', '.join(names)}") from None
