"""What ``interpose audit`` and ``interpose stats`` have in common: filters, and forms of output."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..record.asked import Asked, moment
from ..shown import plain
from . import UsageError

_FILTERS = {
    "session": ("ID", "how the id of a session or thread begins or ends"),
    "model": ("NAME", "a part of the model's name, asked for or used"),
    "provider": ("NAME", "a part of the provider's name"),
    "client": ("NAME", "a part of the client's name: codex, claude-code, …"),
    "since": ("TIME", "under way after that: 30m, 2h, 3d ago, or 2026-11-21 (UTC)"),
    "until": ("TIME", "begun before that; a date: up to its end"),
    "status": ("STATUS", "ok, failed, lost, open, 429 or 5xx"),
}


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Which exchanges are meant, and how they are told."""
    group = parser.add_argument_group("which exchanges")
    for name, (metavar, about) in _FILTERS.items():
        group.add_argument(f"--{name}", metavar=metavar, default="", help=about)
    group.add_argument("--errors", action="store_true", help="only what did not end well")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")


def add_session(parser: argparse.ArgumentParser) -> None:
    """Which session is meant, for commands that read recordings."""
    about = "one session: how its id or its first prompt begins, or 'last'"
    parser.add_argument("--session", metavar="WHICH", default="", help=about)


def asked_of(args: argparse.Namespace, now: float) -> Asked:
    """The filters in ``args``. UsageError for a time that is none."""
    made: dict[str, Any] = {name: getattr(args, name) for name in _FILTERS}
    for name in ("since", "until"):
        try:
            made[name] = moment(made[name], now, last=name == "until") if made[name] else 0.0
        except ValueError as e:
            raise UsageError(f"--{name} {e}") from None
    return Asked(**made, errors=args.errors)


def passed_on(args: argparse.Namespace) -> list[str]:
    """The same options as words, for a process behind the command."""
    words = [f"--{name}={getattr(args, name)}" for name in _FILTERS if getattr(args, name)]
    return words + [f"--{name}" for name in ("errors", "json", "csv") if getattr(args, name)]


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))


def print_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    # A row is a line, whoever reads it.
    writer.writerows({n: plain(v) if isinstance(v, str) else v for n, v in r.items()} for r in rows)
