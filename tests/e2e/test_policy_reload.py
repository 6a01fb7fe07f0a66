"""A policy edited while streams run: none breaks, the next request stands under the new one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.e2e.answers import SSE, chat_chunk, chat_turn, sse
from tests.e2e.chain import Chain, poll
from tests.e2e.upstreams import Answer, Seen, Upstream

STREAMS = 20


def policy(url: str, model: str, more: str = "") -> str:
    return f"""
providers: {{ up: {{ base_url: "{url}/v1", key: k }} }}
models: {{ m: {{ provider: up, model: {model} }} }}
default: m
{more}
"""


class Waiting:
    """An upstream whose streams begin, and end when they may."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def __call__(self, seen: Seen) -> Answer:
        if b"wait" not in seen.body:
            return chat_turn("At once.", (), (), True)

        def live() -> Iterator[bytes]:
            first, *rest = sse(
                [chat_chunk({"content": "one "}), chat_chunk({"content": "two"}, "stop")]
            )
            yield first
            self.may_end.wait(30)
            yield from rest

        return Answer(200, SSE, live=live)


def turn(text: str) -> dict[str, Any]:
    return {"model": "m", "stream": True, "input": [{"role": "user", "content": text}]}


def ask(chain: Chain, text: str, **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = chain.post("/v1/responses", json=turn(text), headers=named)
    assert answer.status_code == 200 and "response.completed" in answer.text, answer.text
    return answer.text


def test_streams_flow_on_and_the_next_request_uses_the_new_policy() -> None:
    script = Waiting()
    with Upstream(script) as upstream, Chain(policy=policy(upstream.url, "old")) as chain:
        begun = threading.Semaphore(0)

        def stream(number: int) -> str:
            out = ""
            with httpx.Client(trust_env=False, timeout=40) as client:
                with client.stream(
                    "POST", f"{chain.url}/responses", json=turn(f"wait {number}")
                ) as answer:
                    for piece in answer.iter_text():
                        if not out:
                            begun.release()
                        out += piece
            return out

        with ThreadPoolExecutor(STREAMS) as pool:
            running = [pool.submit(stream, n) for n in range(STREAMS)]
            for _ in range(STREAMS):
                assert begun.acquire(timeout=20)
            chain.policy_file.write_text(policy(upstream.url, "new"))
            ask(chain, "after the edit")
            chain.policy_file.write_text("models: [broken")
            ask(chain, "after a broken edit")
            health = chain.health()
            assert health["status"] == "degraded" and "policy.yaml:" in health["policy"]["error"]
            chain.policy_file.write_text(policy(upstream.url, "newest"))
            ask(chain, "mended")
            assert chain.health()["policy"]["error"] is None
            script.may_end.set()
            for future in running:
                assert "response.completed" in future.result(30)
        models = [seen.json()["model"] for seen in upstream.posts() if b"wait" not in seen.body]
        assert models == ["new", "new", "newest"]
        assert {s.json()["model"] for s in upstream.posts("wait")} == {"old"}


def thread_id(seconds: float) -> str:
    """A thread's id as Codex makes it, of a thread that began then."""
    digits = f"{int(seconds * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-{int(seconds * 1e6) % 2**48:012x}"


RULE = "catch: [{{ name: pin, inject: {{ text: {} }} }}]"


@pytest.mark.full
@pytest.mark.parametrize("now", [False, True], ids=["new-threads", "now"])
def test_edits_of_prompts_reach_new_threads_only_unless_told(now: bool) -> None:
    more = "\napply: now" if now else ""
    with Upstream(lambda seen: chat_turn("Yes.", (), (), True)) as upstream:
        first = policy(upstream.url, "x", RULE.format("OLD") + more)
        with Chain(policy=first) as chain:
            began = time.time() - 60
            codex = {"user_agent": "codex_exec/0.169.0", "thread_id": thread_id(began)}
            ask(chain, "one", **codex)
            ask(chain, "someone without a thread")
            chain.policy_file.write_text(policy(upstream.url, "x", RULE.format("NEW") + more))
            poll(lambda: chain.health()["policy"]["error"] is None)
            ask(chain, "one", **codex)
            ask(chain, "someone without a thread")
            ask(chain, "a new one", **{**codex, "thread_id": thread_id(time.time() + 1)})
            ask(chain, "a new one without a thread")
            told = [
                "NEW" if "NEW" in json.dumps(seen.json()["messages"]) else "OLD"
                for seen in upstream.posts()
            ]
            kept = ["NEW", "NEW"] if now else ["OLD", "OLD"]
            assert told == ["OLD", "OLD", *kept, "NEW", "NEW"]


def test_a_file_that_a_rule_names_is_part_of_the_policy() -> None:
    more = "catch: [{ inject: { file: rules.md } }]"
    with Upstream(lambda seen: chat_turn("Yes.", (), (), True)) as upstream:
        with Chain(policy=policy(upstream.url, "x")) as chain:
            rules = chain.policy_file.parent / "rules.md"
            rules.write_text("Be brief.")
            chain.policy_file.write_text(policy(upstream.url, "x", more))
            ask(chain, "one")
            rules.write_text("Be very brief.")
            ask(chain, "two")
            texts = [seen.json()["messages"][0]["content"] for seen in upstream.posts()]
            assert texts == ["Be brief.", "Be very brief."]
