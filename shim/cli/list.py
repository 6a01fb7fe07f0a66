"""`interpose list`: the providers of the policy, whether their keys are there, and their models."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from ..codex.catalog import models_of
from ..daemon.files import Files
from ..policy.load import load_policy
from .background import kept_settings
from .upstream import variables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--policy", metavar="FILE", help="policy YAML (else the daemon's)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    policy = load_policy(args.policy or kept_settings(Files()).policy)
    models = models_of(policy)
    built_in = {model.provider for model in models.values()} - set(policy.providers)
    rows: list[dict[str, Any]] = []
    for name in (*policy.providers, *sorted(built_in)):
        provider = policy.providers.get(name)
        wanted = variables(provider) if provider else []
        rows.append(
            {
                "provider": name,
                "base_url": provider.base_url if provider else None,
                "protocol": provider.protocol if provider else None,
                "missing": [v for v in wanted if not os.environ.get(v)],
                "models": [slug for slug, model in models.items() if model.provider == name],
            }
        )
    if args.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    for row in rows:
        where = f"{row['base_url']} ({row['protocol']})" if row["base_url"] else "built in"
        lacks = f", not set here: {', '.join(row['missing'])}" if row["missing"] else ""
        print(f"{row['provider']}  {where}{lacks}")
        for slug in row["models"]:
            print(f"  {slug}" + ("  (default)" if slug == policy.default else ""))
    return 0
