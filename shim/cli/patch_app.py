"""`interpose patch-app [PATH]`: let Codex Desktop for macOS show every model and thread."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from ..codex.asar import AsarError
from ..codex.desktop import App, DesktopError, Result, find_app, patch
from . import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "app",
        nargs="?",
        metavar="PATH",
        help="the app (default: Codex.app or ChatGPT.app in /Applications or ~/Applications)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    return report(args, patch)


def report(args: argparse.Namespace, action: Callable[[App, bool], Result]) -> int:
    """Do it and print what was done; what both commands share."""
    if sys.platform != "darwin" and not (args.dry_run and args.app):
        raise UserError(
            "Codex Desktop can be changed on macOS only; elsewhere `--dry-run PATH` looks into a"
            " copy of the Mac's app, and the Codex CLI needs no patch"
        )
    try:
        result = action(find_app(args.app), args.dry_run)
    except (DesktopError, AsarError) as e:
        raise UserError(str(e)) from None
    except PermissionError as e:
        raise UserError(
            f"{e.filename}: {e.strerror}: allow your terminal to change apps (System Settings,"
            " Privacy & Security, App Management), or run this with sudo"
        ) from None
    print(json.dumps(_object(result, args.dry_run)) if args.json else _text(result))
    return 0


def _text(result: Result) -> str:
    app = result.app
    lines = [f"{app.path} {app.version} ({app.build}): {result.said}"]
    for each in result.found:
        state = "was so already" if each.done else each.place.does
        lines.append(f"  {each.place.name}, {Path(each.file).name}: {state}")
    if result.changed and result.found:
        lines.append(f"The original is in {app.backup}; `interpose restore-app` puts it back.")
    return "\n".join(lines)


def _object(result: Result, dry_run: bool) -> dict[str, object]:
    app = result.app
    return {
        "app": str(app.path),
        "version": app.version,
        "build": app.build,
        "changed": result.changed,
        "dry_run": dry_run,
        "said": result.said,
        "backup": str(app.backup) if app.backup.exists() else None,
        "places": [
            {"name": each.place.name, "file": each.file, "at": each.start, "done": each.done}
            for each in result.found
        ],
    }
