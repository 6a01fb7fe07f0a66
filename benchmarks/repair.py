"""What repair costs: CPU of a text stream of 200 deltas with and without it, as ratios.

``python -m benchmarks.repair`` prints two: that of the translation alone, which is all that repair
is a part of, and that of the whole chain, two real ones asked in turn. The first is the best of
many rounds in one process, the second the CPU time of the processes over all rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from contextlib import ExitStack

from benchmarks.bodies import body
from benchmarks.load import one
from benchmarks.systems import Chain, Direct, ready
from shim.repair.dialects import DIALECTS
from shim.repair.stream import Rules
from shim.route.choose import Route
from shim.wire.protocols import codec
from shim.wire.translate import Translation

_TEXT = (
    "the file holds a list of prices and its total so I read it first then look for where the "
    "total is called in `cart.py` and in the tests that fail since there is nothing else to be "
    "seen for a[0] here"
)
DELTAS = 200
ROUNDS = 60


def stream(deltas: int = DELTAS) -> list[bytes]:
    """A Chat stream of prose with some code in it, one event per piece."""
    rng, words = random.Random(6), _TEXT.split()
    out = []
    for number in range(deltas):
        text = " ".join(rng.choices(words, k=rng.randint(1, 4))) + " "
        if number % 25 == 24:
            text += "\n\n"
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        data = {"id": "c", "object": "chat.completion.chunk", "created": 5, "choices": [choice]}
        out.append(b"data: " + json.dumps(data).encode() + b"\n\n")
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    last = {"id": "c", "object": "chat.completion.chunk", "created": 5, "choices": [end]}
    return [*out, b"data: " + json.dumps(last).encode() + b"\n\n", b"data: [DONE]\n\n"]


def translation(rules: Rules | None) -> Translation:
    """Codex's turn on its way to a Chat upstream."""
    from shim.codex.tools import TOOLS

    body = {"model": "m", "stream": True, "input": "hi", "tools": list(TOOLS)}
    turn = codec("responses").read_request(json.dumps(body).encode())
    return Translation(turn, Route("up", "chat", "m", "m", "t"), codex=True, repair=rules)


def once(rules: Rules | None, pieces: list[bytes]) -> tuple[float, object]:
    """Seconds of CPU for one answer, and what it came to."""
    made = translation(rules)
    translator = made.translator()
    begun = time.process_time()
    for piece in pieces:
        translator.feed(piece)
    translator.close()
    taken = time.process_time() - begun
    assert translator.response
    return taken, translator.response["output"]


def measure(rounds: int = ROUNDS) -> tuple[float, float]:
    """The least CPU in seconds for one answer without and with repair."""
    pieces, rules = stream(), Rules(tuple(DIALECTS))
    plain, repaired = [], []
    for _ in range(rounds):
        seconds, without = once(None, pieces)
        plain.append(seconds)
        seconds, with_it = once(rules, pieces)
        repaired.append(seconds)
        assert without == with_it, "repair has changed a stream of plain text"
    return min(plain), min(repaired)


class Repairing(Chain):
    """The chain with repair on."""

    name = "interpose-repair"

    def command(self) -> list[str]:
        words = super().command()
        policy = self.folder / "policy.yaml"
        policy.write_text(f"{policy.read_text()}\nrepair: {{}}\n")
        return words


def chains(rounds: int) -> tuple[float, float]:
    """Seconds of CPU per answer of a chain without and of one with repair."""
    asked = body(30_000, 6)
    with ExitStack() as stack:
        upstream = stack.enter_context(Direct(0))
        both = [stack.enter_context(kind(upstream.port)) for kind in (Chain, Repairing)]
        for system in both:
            asyncio.run(ready(system))
        used = [0.0, 0.0]
        for number in range(rounds):
            for at in (0, 1) if number % 2 else (1, 0):
                system = both[at]
                before = system.cpu(own=True)
                for _ in range(5):
                    made = system.asked(asked, system.model)
                    asyncio.run(one(system.port, made, system.key, system.path, system.marks))
                used[at] += system.cpu(own=True) - before
    return used[0] / rounds / 5, used[1] / rounds / 5


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repair", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args()
    plain, repaired = measure()
    print(f"translation alone: {plain * 1e3:.2f} ms, {repaired * 1e3:.2f} ms with repair,", end=" ")
    print(f"ratio {repaired / plain:.2f}, {(repaired - plain) / DELTAS * 1e6:.2f} µs per delta")
    plain, repaired = chains(args.rounds)
    print(f"the whole chain:   {plain * 1e3:.2f} ms, {repaired * 1e3:.2f} ms with repair,", end=" ")
    print(f"ratio {repaired / plain:.2f}")


if __name__ == "__main__":
    main()
