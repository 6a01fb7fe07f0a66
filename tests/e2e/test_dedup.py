"""The real Codex under dedup: an agent that reads nothing but the prompt as it was sent, and
follows its references, leaves the same files behind; it does not when a reference is wrong."""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import pairwise
from typing import Any

import httpx
import pytest

from addons.flowfile import read
from benchmarks.systems import System
from benchmarks.tokens.biller import Tokens
from benchmarks.tokens.model import Model
from benchmarks.tokens.report import billed
from benchmarks.tokens.routes import Both, Dedup, Off, OffMessages
from benchmarks.tokens.run import run_task
from benchmarks.tokens.tasks import TASKS
from tests.e2e.answers import chat_text, messages_turn
from tests.e2e.chain import ROOT, Chain
from tests.e2e.upstreams import Upstream
from tests.unit.test_stable_prompts import blocks

#: Here are the benchmark's shorter tasks; `python -m benchmarks.tokens` runs all of them.
BY_NAME = {task.name: task for task in TASKS}


@cache
def plain(name: str, route: type[System] = Off) -> dict[str, Any]:
    return done(name, route)


def done(name: str, route: type[System], **model: Any) -> dict[str, Any]:
    kind = "breakpoints" if getattr(route, "protocol", "") == "messages" else "automatic"
    with Model(Tokens(), **model) as upstream, route(upstream.port) as system:
        return run_task(kind, system, upstream, BY_NAME[name])


@pytest.mark.parametrize(
    ("name", "route", "off"),
    [
        ("config", Both, OffMessages),
        pytest.param("docs", Dedup, Off, marks=pytest.mark.full),
        pytest.param("config", Dedup, Off, marks=pytest.mark.full),
        pytest.param("docs", Both, OffMessages, marks=pytest.mark.full),
        pytest.param("bug-fix", Both, OffMessages, marks=pytest.mark.full),
    ],
)
def test_the_same_files_for_less(name: str, route: type[System], off: type[System]) -> None:
    with_it, without = done(name, route), plain(name, off)
    assert not with_it["failed"] and not without["failed"]
    assert with_it["files"] == without["files"] and with_it["turns"] == without["turns"]
    assert billed(with_it, 0.1) < billed(without, 0.1)


def spoilt(body: bytes) -> bytes:
    """Every reference leads some lines further."""
    wrong = re.compile(rb"\[\^same as lines (\d+)-(\d+) of")
    return wrong.sub(lambda m: b"[^same as lines %d-%d of" % (int(m[1]) + 3, int(m[2]) + 3), body)


@pytest.mark.full
def test_a_wrong_reference_makes_the_task_fail() -> None:
    run = done("docs", Dedup, spoil=spoilt)
    assert "that is not what stands there" in run["failed"]
    assert run["files"] != plain("docs")["files"]


@pytest.mark.full
def test_another_process_sends_what_the_first_one_sent() -> None:
    """A recorded session, with the proxy started again in the middle of it."""
    recorded = read(ROOT / "flows" / "bug-fix-by-the-demo-model.flow")
    bodies = [json.loads(exchange.request.body) for exchange in recorded]
    rules = "\n".join(f"{n}. rule" for n in range(60))
    again = {"type": "message", "role": "user", "content": rules}
    answers = {"chat": chat_text("ok"), "messages": messages_turn("ok", (), (), True)}
    for protocol, answer in answers.items():
        with Upstream([answer]) as upstream:
            policy = {
                "providers": {"up": {"base_url": f"{upstream.url}/v1", "protocol": protocol}},
                "models": {"m": {"provider": "up"}},
                "default": "m",
                "dedup": {},
                "cache": {},
            }
            for part in (bodies[:3], bodies[3:]):
                with Chain(policy=json.dumps(policy)) as chain:
                    for body in part:
                        asked = {**body, "input": [again, again, *body["input"]]}
                        httpx.post(f"{chain.url}/responses", json=asked).raise_for_status()
            sent = [blocks(seen.json()) for seen in upstream.posts()]
        assert len(sent) == len(bodies) == 6
        for (head, early), (later_head, late) in pairwise(sent):
            assert head == later_head and late[: len(early)] == early
        assert "[^same as lines 1-60 of message 1: 0. rule]" in str(sent[0])
