"""Replays recorded flow files: what ``interpose replay`` runs, and tests of recordings too."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mitmproxy import http

from addons.flowfile import (
    Unreadable,
    files,
    flows_of,
    read,
    recorded_of,
    row_of,
    set_body,
    set_row,
    write,
)
from addons.offline import Replayer
from addons.one_session import in_session
from shim.cli.pipe import printing
from shim.cli.replay import add_arguments
from shim.policy.load import PolicyError, load_policy
from shim.record import summary
from shim.record.replay import Made, Recorded, Replayed
from shim.shown import line
from shim.wire.paths import PATHS


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when every byte is as recorded, 1 on a difference, 2 on an unreadable file."""
    parser = argparse.ArgumentParser(
        prog="interpose replay",
        description=(
            "Runs recorded exchanges through today's code and policy, offline, and compares."
        ),
    )
    add_arguments(parser)
    args = parser.parse_args(argv)
    total = different = left = strange = 0
    told: list[dict[str, object]] = []
    try:
        policy = load_policy(args.policy) if args.policy else None
        chosen = _chosen(args)
        for path in chosen or files(args.files):
            with Replayer(policy, args.default_model) as replayer:
                wanted = chosen[path] if args.session else _read(path)
                found = [(r, replayer.run(r)) for r in wanted]
            total += len(found)
            changed = {r.name: replayed.made for r, replayed in found if replayed.differences}
            different += len(changed)
            strange += sum(bool(replayed.not_compared) for _, replayed in found)
            if args.json:
                told += [_told(path, at, r, replayed) for at, (r, replayed) in enumerate(found, 1)]
                continue
            many = 0
            for r, replayed in found:
                for difference in replayed.differences:
                    print(f"{path}: {difference}")
                many += len(replayed.differences)
                if replayed.not_compared and (args.strict or args.policy):
                    print(line(f"{path}: {r.name}: not compared: {replayed.not_compared}"))
            result = f"{many} differences" if many else "as recorded"
            if args.update and changed:
                kept = update(path, changed)
                result += f", {len(changed) - len(kept)} exchanges written anew"
                left += len(kept)
                for said in kept:
                    print(line(f"{path}: {said}"))
            print(f"{path}: {len(found)} exchanges, {result}")
    except (Unreadable, PolicyError) as e:
        print(f"interpose: {e}", file=sys.stderr)
        return 2
    if not total:
        print("interpose: no flow files found", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        more = f", {strange} not compared" if strange else ""
        print(f"{total} exchanges replayed, {different} different{more}")
    return 1 if (left if args.update else different) or (args.strict and strange) else 0


def _chosen(args: argparse.Namespace) -> dict[Path, list[Recorded]]:
    """The exchanges of the one session that is asked for, by their files."""
    if not args.session:
        return {}
    places = [(path, recorded) for path in files(args.files) for recorded in _read(path)]
    made: dict[Path, list[Recorded]] = {}
    for path, recorded in in_session(places, args.session):
        made.setdefault(path, []).append(recorded)
    return made


def update(path: Path, made: Mapping[str, Made | None]) -> list[str]:
    """Write what today's code makes of exchanges into the file at ``path``, each under its name;
    what could not be written, and why."""
    flows = list(flows_of(path))
    ours = [f for f in flows if isinstance(f, http.HTTPFlow) and row_of(f)]
    fitting: dict[str, Made] = {}
    kept: list[str] = []
    for r in recorded_of(ours):
        if r.name not in made:
            continue
        new = made[r.name]
        if new is None or new.route is None or new.request is None:
            kept.append(f"{r.name}: not written anew: today it does not leave")
        elif new.answer is None and r.response:
            said = f"{new.route.label} answers in {new.route.protocol}: record it again"
            kept.append(f"{r.name}: not written anew: {said}")
        else:
            fitting[r.name] = new
    for flow in ours:
        row = row_of(flow)
        if fits := fitting.get(str(row["exchange"])):
            _renew(flow, row, fits)
    if fitting:
        write(path, flows)
    return kept


def _renew(flow: http.HTTPFlow, row: dict[str, object], new: Made) -> None:
    leg = str(row["leg"])
    assert new.route and new.request is not None
    if leg == "client" and flow.response and new.answer is not None:
        set_body(flow.response, new.answer)
    elif leg == "upstream":
        set_body(flow.request, new.request)
        if base := new.route.base_url:
            url = urlsplit(base)
            flow.request.scheme, flow.request.host = url.scheme, url.hostname or ""
            flow.request.port = url.port or (443 if url.scheme == "https" else 80)
            flow.request.path = url.path.rstrip("/") + PATHS[new.route.protocol]
    route = summary.route_fields(new.route)
    if route != row["route"]:
        set_row(flow, {**row, "route": route})


def _read(path: Path) -> Iterator[Recorded]:
    found = False
    for recorded in read(path):
        found = True
        yield recorded
    if not found:
        raise Unreadable(f"{path}: holds no recorded exchanges")


def _told(path: Path, at: int, recorded: Recorded, replayed: Replayed) -> dict[str, object]:
    name = f"{at}: {recorded.row.get('model') or 'no model'}"
    differences = [str(difference) for difference in replayed.differences]
    told = {"file": str(path), "name": name, "differences": differences}
    return {**told, "not_compared": replayed.not_compared}


if __name__ == "__main__":
    sys.exit(printing(main))
