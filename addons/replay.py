"""Replays recorded flow files: what ``interpose replay`` runs, and tests of recordings too."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from addons.flowfile import Unreadable, files, read
from shim.cli.replay import add_arguments
from shim.policy.load import PolicyError, load_policy
from shim.record.replay import replay


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
    total = different = 0
    try:
        policy = load_policy(args.policy) if args.policy else None
        for path in files(args.files):
            found = list(read(path))
            if not found:
                raise Unreadable(f"{path}: holds no recorded exchanges")
            differences = [d for r in found for d in replay(r, policy, default=args.default_model)]
            for difference in differences:
                print(f"{path}: {difference}")
            total += len(found)
            different += len({d.exchange for d in differences})
            print(
                f"{path}: {len(found)} exchanges, "
                + ("as recorded" if not differences else f"{len(differences)} differences")
            )
    except (Unreadable, PolicyError) as e:
        print(f"interpose: {e}", file=sys.stderr)
        return 2
    if not total:
        print("interpose: no flow files found", file=sys.stderr)
        return 2
    print(f"{total} exchanges replayed, {different} different")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
