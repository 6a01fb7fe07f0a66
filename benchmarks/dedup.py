"""``python -m benchmarks.dedup``: what dedup costs, as multiples of decoding the same JSON.

Histories are shaped as agents make them (files read in windows, again after edits, searches, test
runs), and as badly as can be. Each is fed to a fresh editor, as after a restart; a running thread
pays for its new elements only.
"""

from __future__ import annotations

import argparse
import argparse as _argparse
import asyncio.base_events
import asyncio.tasks
import gc
import inspect
import json
import random
import statistics
import time
import typing as _typing
from collections.abc import Callable
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from addons.memory import keep_freed
from benchmarks import page
from benchmarks.commits import made_of
from shim.client import Facts
from shim.policy.rules import Dedup
from shim.prompt.catch import Catch
from shim.prompt.edit import Editors
from shim.wire.protocols import codec

_MODULES = (asyncio.base_events, asyncio.tasks, _argparse, _typing, inspect, json)
_FILES = [inspect.getsource(module).split("\n") for module in _MODULES]
_NOTHING = Catch([])
_RULES = Dedup()
_MB = 1 << 20


def _history(size: int, texts: Callable[[random.Random], str]) -> bytes:
    chance = random.Random(1)
    items: list[dict[str, Any]] = []
    made = 0
    while made < size:
        text = texts(chance)[: size - made + 100]
        n = len(items)
        call = {"type": "function_call", "call_id": f"c{n}", "name": "exec_command"}
        items.append({**call, "arguments": json.dumps({"cmd": f"sed -n '{n},{n + 200}p' a.py"})})
        items.append({"type": "function_call_output", "call_id": f"c{n}", "output": text})
        made += len(text) + 200
    return json.dumps({"model": "m", "input": items}).encode()


def _window(chance: random.Random) -> str:
    """A window of a file; one time in four a line was changed since."""
    lines = chance.choice(_FILES)
    first = chance.randrange(0, max(1, len(lines) - 50))
    window = lines[first : first + chance.choice((60, 120, 200))]
    if window and chance.random() < 0.25:
        window[chance.randrange(len(window))] = f"    changed = {chance.random()}"
    return "\n".join([f"Chunk ID: {chance.getrandbits(24):06x}", "Output:", *window])


def _fresh(chance: random.Random) -> str:
    """New lines, one in three of them known: the share of repeats that real logs have."""
    if chance.random() < 0.26:
        return _window(chance)
    return "\n".join(f"{chance.choice(_FILES[0])}  # {chance.getrandbits(40)}" for _ in range(120))


def _unique(chance: random.Random) -> str:
    return "\n".join(f"{chance.getrandbits(160):x}" for _ in range(200))


def _short(chance: random.Random) -> str:
    lines: list[str] = []
    for _ in range(90):
        first = chance.randrange(900)
        lines += [*_FILES[0][first : first + 2], str(chance.random())]
    return "\n".join(lines)


SHAPES: dict[str, Callable[[random.Random], str]] = {
    "agent-shaped": _fresh,
    "files read again and again": _window,
    "all lines equal": lambda chance: "the very same line of a log file\n" * 200,
    "all lines blank": lambda chance: "\n" * 8000,
    "all lines unique": lambda chance: "\n".join(
        f"{chance.getrandbits(160):x}" for _ in range(200)
    ),
    "two lines in turn": lambda chance: "\n".join(
        chance.choice(("one line of two that take turns", "and the other line of these two"))
        for _ in range(250)
    ),
    "one huge line": lambda chance: f"{chance.getrandbits(64)}" * 50_000,
    "short known stretches": _short,
    "what looks like references": lambda chance: "[^same as lines 1-9 of output 1: x]\n" * 200,
}


def measured(body: bytes, rounds: int) -> tuple[float, float, float]:
    """Medians of the seconds to decode the JSON, to dedup it where it is new here, and to dedup the
    next turn of the same thread, which has two items more."""
    decode: list[float] = []
    fresh: list[float] = []
    running: list[float] = []
    facts = Facts(thread="t")
    longer = codec("responses").read_request(_longer(body))
    for _ in range(rounds):
        gc.collect()
        begun = time.perf_counter()
        msgspec.json.decode(body)
        decode.append(time.perf_counter() - begun)
        turn = codec("responses").read_request(body)
        gc.collect()
        # Kept, as the chain keeps them: to let go of them is not part of a turn.
        editors = Editors()
        begun = time.perf_counter()
        editors.edit(turn, _NOTHING, facts, None, _RULES)
        fresh.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        editors.edit(longer, _NOTHING, facts, None, _RULES)
        running.append(time.perf_counter() - begun)
    return statistics.median(decode), statistics.median(fresh), statistics.median(running)


def _longer(body: bytes) -> bytes:
    call = {"type": "function_call", "call_id": "next", "name": "exec_command", "arguments": "{}"}
    done = {"type": "function_call_output", "call_id": "next", "output": "\n".join(_FILES[0][:200])}
    return body.rstrip()[:-2] + f", {json.dumps(call)}, {json.dumps(done)}]}}".encode()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dedup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write-docs", action="store_true", help="into docs/benchmarks.md")
    args = parser.parse_args()
    made = made_of()
    # As in the chain.
    keep_freed()
    rows: list[tuple[str, ...]] = []
    base = 0.0
    for name, texts in SHAPES.items():
        for size in (_MB, 10 * _MB) if name == "agent-shaped" else (_MB,):
            body = _history(size, texts)
            decode, fresh, running = measured(body, args.rounds)
            per = fresh / len(body)
            base = base or per
            numbers = (fresh / decode, running / decode, per / base)
            label = f"{name}, {round(len(body) / _MB)} MB"
            rows.append((label, *(f"{number:.1f}" for number in numbers)))
    table = Table(*_HEAD)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    if args.write_docs:
        write_docs(rows, made)


_HEAD = ("history", "new here", "its next turn", "per MB, of agent-shaped")
_BEGIN, _END = "<!-- dedup -->", "<!-- end of dedup -->"


def write_docs(rows: list[tuple[str, ...]], made: str) -> None:
    """Put the table into docs/benchmarks.md."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (_HEAD, ("---",) * len(_HEAD), *rows)]
    page.put(_BEGIN, _END, made, "\n".join(lines))


if __name__ == "__main__":
    main()
