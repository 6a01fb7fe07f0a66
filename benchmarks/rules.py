"""``python -m benchmarks.rules``: what 500 rules add to what the chain adds.

Two chains beside bare mitmdump, one with a policy of 500 rules none of which holds, asked in turn:
for conversations they have not seen, and for the next turn of one they know. What a chain adds is
its time to the first delta less that of bare mitmdump, or less that of the upstream itself.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import statistics
import time
from contextlib import ExitStack

from rich.console import Console
from rich.table import Table

from benchmarks.bodies import body
from benchmarks.load import one
from benchmarks.report import label
from benchmarks.systems import Bare, Chain, Direct, System, ready

RULES = 500
_WORDS = ("invoice", "ledger", "tenant", "rollout", "quota", "beacon", "harvest", "lattice")


class Plain(Chain):
    """The chain under a policy without a rule."""

    name = "interpose-no-rules"

    def command(self) -> list[str]:
        words = super().command()
        policy = self.folder / "policy.yaml"
        policy.write_text(f"{policy.read_text()}\ndefault: m\n")
        return words


class Ruled(Chain):
    """The chain under a policy of many rules."""

    name = "interpose-500-rules"

    def command(self) -> list[str]:
        words = super().command()
        policy = self.folder / "policy.yaml"
        lines = [f"{name}: {json.dumps(value)}" for name, value in rules(RULES).items()]
        policy.write_text("\n".join([policy.read_text(), "default: m", *lines]) + "\n")
        return words


def rules(count: int) -> dict[str, list[dict[str, object]]]:
    """Half catch rules, half route rules, of the kinds that people write; none of them holds."""
    catch: list[dict[str, object]] = []
    route: list[dict[str, object]] = []
    for n in range(count // 2):
        word = f"{_WORDS[n % len(_WORDS)]}-{n:03}"
        kind = n % 5
        if kind == 0:
            made = {"when": {"role": "user", "pattern": f"(?i)\\b{word}\\b"}, "refuse": "No."}
        elif kind == 1:
            made = {"when": {"text": word}, "tag": word}
        elif kind == 2:
            made = {"when": {"role": "tool", "pattern": f"{word}=\\d+"}, "drop": True}
        elif kind == 3:
            made = {"replace": {"pattern": f"{word}@[a-z]+\\.example", "with": "someone"}}
        else:
            when = {"role": "tool", "tool": f"{word}*", "larger_than": "64kb"}
            made = {"when": when, "cap": "32kb"}
        catch.append({"name": f"catch {n}", **made})
        when = [
            {"text": word},
            {"model": f"{word}*"},
            {"pattern": f"(?i){word}", "client": "codex"},
            {"tag": word, "larger_than": "100k"},
            {"header": {"x-team": word}, "images": True},
        ][kind]
        route.append({"name": f"route {n}", "when": when, "to": "m"})
    return {"catch": catch, "route": route}


def grown(made: bytes, turns: int) -> bytes:
    """The same conversation, so many short turns later."""
    value = json.loads(made)
    for n in range(turns):
        said = {"role": "assistant", "content": [{"type": "output_text", "text": f"Done {n}."}]}
        asked = {"role": "user", "content": [{"type": "input_text", "text": f"And step {n}?"}]}
        value["input"] += [{"type": "message", **said}, {"type": "message", **asked}]
    return json.dumps(value, separators=(",", ":")).encode()


def measure(systems: list[System], size: int, rounds: int, *, known: bool) -> list[list[float]]:
    """Per system, the time to the first delta in each round, in seconds."""
    found: list[list[float]] = [[] for _ in systems]
    for number in range(rounds + 2):
        first = body(size, 7 if known else 5000 + number)
        made = grown(first, number) if known else first
        order = list(range(len(systems)))
        random.Random(number).shuffle(order)
        for at in order:
            # The recorder of whoever was asked last is still at work.
            time.sleep(0.04)
            system = systems[at]
            thread = "a-thread-of-one-session" if known else f"thread-{size}-{number}"
            asked = system.asked(made, "anything")
            request = one(system.port, asked, system.key, system.path, system.marks, thread)
            sample = asyncio.run(request)
            if number > 1:
                found[at].append(sample.first)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args()
    gc.freeze()
    gc.disable()
    table = Table(title=f"growth of what the chain adds, with {RULES} rules")
    for column in ("body", "conversation", "over bare mitmdump", "over the upstream"):
        table.add_column(column)
    with ExitStack() as stack:
        upstream = stack.enter_context(Direct(0))
        kinds = (Bare, Plain, Ruled)
        systems: list[System] = [
            upstream,
            *(stack.enter_context(kind(upstream.port)) for kind in kinds),
        ]
        for system in systems[1:]:
            asyncio.run(ready(system))
        for size in (1_000, 100_000, 500_000):
            for known in (False, True):
                times = measure(systems, size, args.rounds, known=known)
                direct, bare, plain, ruled = map(statistics.median, times)
                growth = [
                    f"{((ruled - floor) / (plain - floor) - 1) * 100:+.0f} %"
                    for floor in (bare, direct)
                ]
                table.add_row(label(size), "next turn" if known else "new", *growth)
    Console().print(table)


if __name__ == "__main__":
    main()
