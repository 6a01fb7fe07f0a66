"""A provider that insists on it gets an id of the conversation, and no other provider does."""

from __future__ import annotations

from typing import Any

import pytest

from shim.policy.load import parse_policy
from tests.addons.harness import Stages, stages

__all__ = ["stages"]

HEADER = "x-opencode-session"


def policy(url: str, more: str = "") -> Any:
    return parse_policy(f"""
providers:
  up: {{ base_url: "{url}", key: k{more} }}
models: {{ m: {{ provider: up }} }}
default: m
""")


def sent(stages: Stages, words: list[str], **headers: str) -> str | None:
    items = [{"role": "user", "content": word} for word in words]
    flow = stages.send(stages.flow({"model": "m", "stream": True, "input": items}, **headers))
    assert flow.response is None, flow.response.content
    found = flow.request.headers.get(HEADER)
    return str(found) if found else None


@pytest.fixture
def go(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> Stages:
    # Nothing off this machine is asked whether it can be reached.
    async def reachable(*_: object) -> None:
        return None

    monkeypatch.setattr("shim.route.probe.Probe.check", reachable)
    stages.services.policies.put(policy("https://opencode.ai/zen/go/v1"))
    return stages


def test_a_conversation_keeps_its_id_which_is_not_the_clients(go: Stages) -> None:
    one = sent(go, ["hi"], thread_id="thread-1")
    assert one and "thread-1" not in one and len(one) == 32
    assert sent(go, ["hi", "more"], thread_id="thread-1") == one
    assert sent(go, ["hi"], thread_id="thread-2") not in (None, one)


def test_a_client_that_names_no_conversation_is_known_by_how_it_begins(go: Stages) -> None:
    one = sent(go, ["hi"])
    assert one and sent(go, ["hi", "more"]) == one
    assert sent(go, ["something else"]) != one


def test_the_policys_own_word_counts(go: Stages) -> None:
    more = f", headers: {{ {HEADER}: mine }}"
    go.services.policies.put(policy("https://opencode.ai/zen/go/v1", more))
    assert sent(go, ["hi"], thread_id="t") == "mine"


def test_nobody_else_is_told(stages: Stages) -> None:
    stages.services.policies.put(policy("http://127.0.0.1:9/v1"))
    assert sent(stages, ["hi"], thread_id="t") is None
