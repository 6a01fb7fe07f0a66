"""Work for a chain that is watched: sessions of the demo model, errors, and a turn that waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.e2e.chain import Chain, poll
from tests.e2e.upstreams import Answer, Upstream, closed_port
from tests.unit.fixtures import DONE, chunk

EVENTS = {"content-type": "text/event-stream"}
CODEX = {"user-agent": "codex_exec/0.169.0"}
LONG, SHORT, GONE, SLOW = (
    "019a51ce-3c5e-7d02-a1b4-5f1d2c3e4a5b",
    "019a51d0-11aa-7d02-93f0-8be20f417c66",
    "019a51d3-22bb-7d02-b5c7-1d90ae53f284",
    "019a51d5-9f01-7d02-8e2a-60c4d7b19e35",
)
SOURCE = "".join(f"def price_{n}(item, count):\n    return item.{n} * count\n" for n in range(99))


def policy(slow: str) -> str:
    return f"""
providers:
  slow: {{ base_url: "{slow}/v1", protocol: chat }}
  gone: {{ base_url: "http://127.0.0.1:{closed_port()}/v1", protocol: chat }}
models:
  demo: {{ provider: demo, price: {{ input: 3, cached: 0.3, output: 15 }} }}
  big: {{ provider: slow }}
  lost: {{ provider: gone }}
default: demo
dedup: {{}}
"""


def turn(chain: Chain, thread: str, model: str = "demo", again: int = 0) -> httpx.Response:
    """One turn of an agent that has read the same file ``again`` times before."""
    items: list[dict[str, Any]] = [{"role": "user", "content": "What does the module do?"}]
    for n in range(again):
        call = {"call_id": f"c{n}", "name": "exec_command", "arguments": '{"cmd": "cat cart.py"}'}
        items += [
            {"type": "function_call", **call},
            {"type": "function_call_output", "call_id": f"c{n}", "output": SOURCE},
        ]
    body = {"model": model, "stream": True, "input": items}
    return chain.post("/v1/responses", json=body, headers={**CODEX, "thread-id": thread})


def work(chain: Chain) -> None:
    """Two sessions with answers, and one without."""
    for n in range(8):
        turn(chain, LONG, again=n)
    for n in range(4):
        turn(chain, SHORT, again=n)
    turn(chain, GONE, "lost")


class Held:
    """An upstream whose answers begin, and end when they may."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def script(self, seen: object) -> Answer:
        def live() -> Iterator[bytes]:
            yield chunk({"content": "it "})
            self.go_on.wait(60)
            usage = {"prompt_tokens": 1200, "completion_tokens": 30, "total_tokens": 1230}
            yield chunk({"content": "works"}, "stop", usage=usage) + DONE

        return Answer(200, EVENTS, live=live)

    @contextmanager
    def streaming(self, chain: Chain, thread: str = SLOW) -> Iterator[threading.Thread]:
        """A turn under way, from its first bytes until the end of the block at the latest."""
        self.go_on.clear()
        asked = threading.Thread(target=turn, args=(chain, thread, "big"), daemon=True)
        asked.start()
        try:
            poll(lambda: "streaming" in chain.get("/health?live=1").text, what="the first bytes")
            yield asked
        finally:
            self.go_on.set()
            asked.join(30)


@contextmanager
def at_work(tool: str = "mitmdump", **more: Any) -> Iterator[tuple[Chain, Held]]:
    """A chain and what its slow upstream waits for."""
    held = Held()
    with Upstream(held.script) as upstream:
        with Chain(policy=policy(upstream.url), tool=tool, **more) as chain:
            try:
                yield chain, held
            finally:
                held.go_on.set()
