"""``interpose whatif``: what the sessions you have had cost, and would have cost under a policy."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import msgspec
from rich.console import Group
from rich.progress import track

from ..account.tokens import tokenizer
from ..account.whatif import Cost, cost
from ..logs import LogError, find_logs, read_log
from ..policy.inforce import InForce
from ..policy.load import load_policy
from . import UserError
from .chain import ROOT
from .screen import Column, Screen, table

_POLICY = ROOT / "policies" / "frugal.yaml"
#: Where Codex and Claude Code keep their sessions.
_HOMES = (Path("~/.codex/sessions"), Path("~/.claude/projects"))
_MOST_ROWS = 25
_COLUMNS = (
    # Names end in what tells them apart.
    Column("session", text=True, tail=True, least=10, most=16),
    Column("client", text=True, least=5),
    Column("turns", rank=1),
    Column("input"),
    Column("cached", rank=2),
    Column("it was"),
    Column("would be"),
    Column("less"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="session logs or folders of them (default: ~/.codex/sessions, ~/.claude/projects)",
    )
    parser.add_argument(
        "--policy", metavar="FILE", help="the policy (default: policies/frugal.yaml)"
    )
    parser.add_argument(
        "--read",
        type=float,
        metavar="SHARE",
        help="what a cached token costs of the full price (default: 0.1 Claude Code, 0.25 Codex)",
    )
    parser.add_argument("--all", action="store_true", help="list every session")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.epilog = "Nothing leaves this machine: the logs are read, and nothing is written."


def run(args: argparse.Namespace) -> int:
    """0, or 1 when no session could be read."""
    if args.read is not None and not 0 <= args.read <= 1:
        raise UserError(f"--read is a share from 0 to 1, not {args.read:g}")
    paths = [Path(p).expanduser() for p in args.paths] or [
        home for home in (h.expanduser() for h in _HOMES) if home.is_dir()
    ]
    if not paths:
        raise UserError(f"no session logs in {' or '.join(map(str, _HOMES))}; name a PATH")
    policy = InForce(load_policy(Path(args.policy) if args.policy else _POLICY))
    errors = Screen(stderr=True)
    logs = find_logs(paths)
    found: list[Cost] = []
    silent = len(logs) < 2 or not errors.is_terminal
    for log in track(logs, "reading", console=errors, transient=True, disable=silent):
        try:
            made = [cost(session, policy, args.read) for session in read_log(log)]
        except LogError as e:
            errors.print(f"left out: {e}", highlight=False, markup=False)
        else:
            found += [c for c in made if c.turns]
    if not found:
        raise UserError(f"{', '.join(map(str, paths))}: no session with a request to a model")
    whole = Cost("all")
    for one in found:
        whole.add(one)
    if args.json:
        told = {"sessions": found, "all": whole, "estimates_by": tokenizer()[0]}
        print(json.dumps(msgspec.to_builtins(told), indent=1))
        return 0
    found.sort(key=lambda c: c.would - c.was)
    screen = Screen()
    rows = found if args.all else found[:_MOST_ROWS]
    screen.print(_table(rows, whole, len(found), screen.room))
    return 0


def _table(found: list[Cost], whole: Cost, count: int, room: int | None) -> Group:
    more = f"; {count - len(found)} more with --all" if count > len(found) else ""
    guessed = whole.turns - whole.measured
    without = f"; {guessed} of {whole.turns} turns without the provider's counts" if guessed else ""
    return table(
        _COLUMNS,
        [_row(one) for one in found],
        room,
        total=_row(whole),
        title="Billed-equivalent input, in thousands of tokens\n",
        caption=f"\n{count} sessions{more}{without}; estimates by {tokenizer()[0]}",
    )


def _row(one: Cost) -> list[str]:
    share = one.cached / one.input if one.input else 0.0
    numbers = [f"{one.turns:,}", f"{one.input / 1000:,.0f}", f"{share:.0%}"]
    numbers += [f"{one.was / 1000:,.1f}", f"{one.would / 1000:,.1f}", f"{one.times:.2f}×"]
    return [one.name, one.client, *numbers]
