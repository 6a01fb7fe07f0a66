"""Policies and recordings: what ``interpose policy explain`` and ``policy diff`` run."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec

from addons.flowfile import Unreadable, files, read
from addons.one_session import in_session
from shim.cli.pipe import printing
from shim.cli.policy_trial import add_diff, add_explain
from shim.policy.load import PolicyError, load_policy
from shim.policy.trial import Change, Trial, Trier, compare
from shim.record import summary
from shim.record.replay import Recorded
from shim.shown import line


def explain(args: argparse.Namespace) -> int:
    """Print what was decided about each recorded exchange, and why."""
    trier = Trier(load_policy(args.policy)) if args.policy else None
    shown: list[dict[str, Any]] = []
    for path, recorded in in_session(_all(args.flows), args.session):
        if args.exchange and not recorded.name.startswith(args.exchange):
            continue
        row = recorded.row
        trial = trier.run(recorded) if trier else None
        entry = {"file": str(path), "exchange": recorded.name, "model": row.get("model")}
        entry |= {"route": _target(row), "status": row.get("status"), "usage": row.get("usage")}
        entry |= {"decisions": summary.decisions(row), "error": row.get("error")}
        shown.append({**entry, "with_policy": msgspec.to_builtins(trial)} if trial else entry)
    if not shown:
        raise Unreadable(f"{', '.join(args.flows)}: no exchange {args.exchange} there")
    if args.json:
        print(json.dumps(shown, indent=1, ensure_ascii=False))
        return 0
    for entry in shown:
        print(line(f"{entry['file']}: {entry['exchange']}"))
        print(line(f"  {entry['model'] or '(no model)'} → {entry['route']} · {entry['status']}"))
        for said in entry["decisions"]:
            print(line(f"  {said}"))
        if entry["error"]:
            print(line(f"  failed: {entry['error']}"))
        if "with_policy" in entry:
            print(f"  with {args.policy}:")
            for said in _would(msgspec.convert(entry["with_policy"], Trial)):
                print(line(f"    {said}"))
    return 0


def diff(args: argparse.Namespace) -> int:
    """Print what the new policy would do otherwise; 1 when there is anything."""
    old, new = (Trier(load_policy(path), args.default_model) for path in (args.old, args.new))
    pairs: list[tuple[Trial, Trial]] = []
    changes: list[Change] = []
    for path, recorded in _all(args.flows):
        before, after = old.run(recorded), new.run(recorded)
        if before is None or after is None:
            continue
        pairs.append((before, after))
        if change := compare(before, after):
            changes.append(change)
            if not args.json:
                print(line(f"{path}: {change.exchange}"))
                for said in change.said:
                    print(line(f"  {said}"))
    total = _totals(pairs, changes)
    if args.json:
        made = {"changes": msgspec.to_builtins(changes), **total}
        print(json.dumps(made, indent=1, ensure_ascii=False))
    else:
        print(_summary(total))
    return 1 if changes else 0


def _all(paths: list[str]) -> list[tuple[Path, Recorded]]:
    found = [(path, recorded) for path in files(paths) for recorded in read(path)]
    if not found:
        raise Unreadable(f"{', '.join(paths)}: no recorded exchanges there")
    return sorted(found, key=lambda pair: pair[1].at)


def _target(row: dict[str, Any]) -> str:
    route = row.get("route")
    return f"{route['provider']}/{route['model']}" if route else "no route"


def _would(trial: Trial) -> list[str]:
    if trial.refused:
        return [f"refused: {trial.refused}"]
    lines = [f"{trial.asked or '(no model)'} → {trial.model} by {trial.why}"]
    lines += trial.edits
    priced = f", ${trial.dollars:.4f}" if trial.dollars is not None else ""
    return [*lines, f"prompt of {trial.tokens:,} tokens{priced}"]


def _totals(pairs: list[tuple[Trial, Trial]], changes: list[Change]) -> dict[str, Any]:
    def dollars(which: int) -> float | None:
        known = [p[which].dollars for p in pairs]
        priced = [d for d in known if d is not None]
        return round(sum(priced), 6) if priced else None

    moved = [p for p in pairs if p[0].model != p[1].model and not p[1].refused]
    return {
        "exchanges": len(pairs),
        "changed": len(changes),
        "routed_elsewhere": len(moved),
        "refused": [sum(bool(p[n].refused) for p in pairs) for n in (0, 1)],
        "prompt_tokens": [sum(p[n].tokens for p in pairs) for n in (0, 1)],
        "dollars": [dollars(0), dollars(1)],
    }


def _summary(total: dict[str, Any]) -> str:
    tokens, refused, dollars = total["prompt_tokens"], total["refused"], total["dollars"]
    said = [
        f"{total['exchanges']} exchanges, {total['changed']} changed",
        f"{total['routed_elsewhere']} routed elsewhere",
        f"refused {refused[0]} → {refused[1]}",
        f"prompts {tokens[0]:,} → {tokens[1]:,} tokens",
    ]
    if None not in dollars:
        said.append(f"${dollars[0]:.4f} → ${dollars[1]:.4f}")
    return " · ".join(said)


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when all is as before, 1 on a difference, 2 on an unreadable file."""
    parser = argparse.ArgumentParser(prog="interpose policy")
    commands = parser.add_subparsers(dest="what", required=True)
    add_explain(commands)
    add_diff(commands)
    args = parser.parse_args(argv)
    try:
        return explain(args) if args.what == "explain" else diff(args)
    except (Unreadable, PolicyError) as e:
        print(f"interpose: {e}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(printing(main))
