"""``make bench-tokens``: every task over every route, billed; a table and a picture."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.systems import PEERS, System, Unavailable
from benchmarks.tokens import report
from benchmarks.tokens.biller import Tokens
from benchmarks.tokens.model import Model
from benchmarks.tokens.routes import KINDS
from benchmarks.tokens.run import run_task
from benchmarks.tokens.tasks import TASKS, Task

RS_BPE = "0.1.0"
_OUT = Path(__file__).resolve().parents[1] / "results" / "tokens.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokens", description=__doc__)
    parser.add_argument("--tasks", help="only these, with commas")
    parser.add_argument("--routes", help="only routes whose name begins so, with commas")
    parser.add_argument("--kinds", default="automatic,breakpoints")
    parser.add_argument("--write-docs", action="store_true", help="write docs/tokens.md")
    args = parser.parse_args()
    tasks = [t for t in TASKS if not args.tasks or t.name in args.tasks.split(",")]
    rows: list[dict[str, Any]] = []
    _get_tokenizer()
    tokens = Tokens()
    for kind in args.kinds.split(","):
        for route in KINDS[kind]:
            if args.routes and not route.name.startswith(tuple(args.routes.split(";"))):
                continue
            begun = time.monotonic()
            try:
                rows += _route(kind, route, tasks, tokens)
            except Unavailable as e:
                print(f"{kind}: {route.name} left out: {e}", file=sys.stderr)
            print(f"{kind}: {route.name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    result = {"tokenizer": tokens.name, "rows": rows}
    if not (args.tasks or args.routes):
        _OUT.write_text(json.dumps(result, indent=1))
    print(report.text(result))
    if args.write_docs:
        report.write_docs(result)
    return 0


def _get_tokenizer() -> None:
    """Its package is large and of use here only."""
    folder = PEERS / f"tokenizer-{sys.version_info.minor}"
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder)]
        subprocess.run([*pip, f"rs-bpe=={RS_BPE}"], capture_output=True)
    sys.path.append(str(folder))


def _route(
    kind: str, route: type[System], tasks: list[Task], tokens: Tokens
) -> list[dict[str, Any]]:
    with Model(tokens) as model, route(model.port) as system:
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda task: run_task(kind, system, model, task), tasks))


if __name__ == "__main__":
    sys.exit(main())
