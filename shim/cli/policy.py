"""``interpose policy``: check policies, try them on recordings, import them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import msgspec

from ..policy.imports import ImportFailed, import_models
from ..policy.load import Report, examine
from ..policy.read import NotReadable, read
from ..policy.reference import schema_text
from . import UserError, policy_trial, policy_try


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to ``parser``."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    check = commands.add_parser("check", help="say what is wrong with policies, and what costs")
    check.add_argument("files", nargs="+", metavar="FILE")
    check.add_argument("--strict", action="store_true", help="warnings count as errors")
    check.add_argument("--json", action="store_true", help="print JSON")
    policy_trial.add_explain(commands)
    policy_trial.add_diff(commands)
    policy_try.add_try(commands)
    commands.add_parser("schema", help="print the JSON Schema, for editors")
    imports = commands.add_parser("import", help="make a policy of a codex-shim models.json")
    imports.add_argument("models", type=Path, metavar="MODELS.JSON")
    imports.add_argument("-o", "--output", type=Path, help="the policy file to write, else printed")
    imports.add_argument(
        "--keep-keys", action="store_true", help="write keys into it instead of variables' names"
    )


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when all is well, 1 when something is not, 2 when a file cannot be read."""
    if args.what in ("explain", "diff"):
        return policy_trial.run(args)
    if args.what == "try":
        return policy_try.run(args)
    if args.what == "schema":
        sys.stdout.write(schema_text())
        return 0
    return _import(args) if args.what == "import" else _check(args)


def _check(args: argparse.Namespace) -> int:
    reports = {name: _examined(name) for name in args.files}
    if args.json:
        made = {
            name: {"errors": report.problems, "warnings": report.warnings}
            for name, report in reports.items()
        }
        print(json.dumps(msgspec.to_builtins(made), indent=1, ensure_ascii=False))
    else:
        for name, report in reports.items():
            for kind, told in (("error", report.problems), ("warning", report.warnings)):
                for problem in told:
                    place = f"{problem.file}:{problem.line}:{problem.column}"
                    field = f"{problem.field}: " if problem.field else ""
                    print(f"{place}: {kind}: {field}{problem.message}")
            if not report.problems:
                count = len(report.warnings)
                more = f", with {count} warning{'s' if count > 1 else ''}" if count else ""
                print(f"{name}: good{more}")
    bad = any(r.problems or (args.strict and r.warnings) for r in reports.values())
    return 1 if bad else 0


def _examined(name: str) -> Report:
    file = Path(name).expanduser()
    try:
        return examine(read(file), name, file.parent)
    except NotReadable as e:
        return Report([msgspec.structs.replace(e.problem, file=name)], [])


def _import(args: argparse.Namespace) -> int:
    try:
        text, notes = import_models(args.models, keep_keys=args.keep_keys)
    except ImportFailed as e:
        raise UserError(str(e)) from None
    for note in notes:
        print(f"interpose: {note}", file=sys.stderr)
    if args.output is None:
        sys.stdout.write(text)
        return 0
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(args.output, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{args.output} is there already; name another file") from None
    print(f"{args.output} written; interpose serve --policy {args.output} uses it")
    return 0
