"""What repair costs: CPU of a text stream of 200 deltas with and without it, as a ratio.

``python -m benchmarks.repair`` prints it; both ways run in turn in one process, the best of many
rounds each, so that what else runs on the machine counts for little.
"""

from __future__ import annotations

import json
import random
import time

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


def main() -> None:
    """Print the figures."""
    plain, repaired = measure()
    print(f"{DELTAS} deltas without repair  {plain * 1e3:6.2f} ms")
    print(f"{DELTAS} deltas with repair     {repaired * 1e3:6.2f} ms")
    print(f"ratio                      {repaired / plain:6.3f}")


if __name__ == "__main__":
    main()
