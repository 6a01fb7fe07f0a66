"""Limits in a running chain: what the clients' users read, and who answers instead."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from shim.record.summary import decisions
from tests.e2e.answers import chat_turn
from tests.e2e.chain import Chain
from tests.e2e.clients import run_codex
from tests.e2e.upstreams import Answer, Seen, Upstream

MODELS = """
providers: {{ up: {{ base_url: "{url}/v1", key: k }} }}
models:
  big: {{ provider: up, price: {{ input: 1000, output: 1000 }} }}
  small: {{ provider: up, price: {{ input: 1, output: 1 }} }}
default: big
"""


def answer(seen: Seen) -> Answer:
    """Ten tokens each time (answers.USAGE)."""
    return chat_turn(f"This is {seen.json()['model']}.", (), (), bool(seen.json().get("stream")))


def ask(chain: Chain, model: str = "any") -> str:
    client = openai.OpenAI(base_url=chain.url, api_key="x", max_retries=0, timeout=20)
    return client.responses.create(model=model, input="hi").output_text


def test_a_budget_routes_cheaper_and_leaves_an_explicit_model_alone(tmp_path: Path) -> None:
    limits = "limits: [{ name: day, per: day, money: 0.015, then: cheaper, to: small }]"
    with Upstream(answer) as upstream:
        with Chain(policy=MODELS.format(url=upstream.url) + limits) as chain:
            assert [ask(chain) for _ in range(4)] == ["This is big."] * 2 + ["This is small."] * 2
            assert ask(chain, "big") == "This is big."
            row = chain.get("/health?exchanges=1").json()["exchanges"][-2]
            said = "limits: cheaper: The limit day is used up: $0.02 of $0.01"
            assert any(d.startswith(said) for d in decisions(row)), decisions(row)


def test_codex_reads_once_that_the_budget_is_used_up(tmp_path: Path) -> None:
    limits = "limits: [{ name: team, tokens: 10, message: Ask Kim for more. }]"
    with Upstream(answer) as upstream:
        with Chain(policy=MODELS.format(url=upstream.url) + limits) as chain:
            first = run_codex(chain.url, "Hello.", tmp_path / "one", model="big")
            assert first.final_text == "This is big.", first.explain()
            second = run_codex(chain.url, "Hello.", tmp_path / "two", model="big")
            assert second.failure.startswith(
                "Ask Kim for more. The limit team is used up: 10 of 10"
            )
            assert len(upstream.posts()) == 1 and second.seconds < 10


def test_a_pace_is_refused_with_the_time_to_wait() -> None:
    limits = "limits: [{ name: pace, per: key, requests_per_minute: 1 }]"
    with Upstream(answer) as upstream:
        with Chain(policy=MODELS.format(url=upstream.url) + limits) as chain:
            for _ in range(2):  # the minute may end between two requests
                with pytest.raises(openai.RateLimitError) as raised:
                    ask(chain)
                    ask(chain)
                assert 1 <= int(raised.value.response.headers["retry-after"]) <= 60
                assert "1 requests in this minute" in str(raised.value)


@pytest.mark.full
def test_counters_outlive_the_chain(tmp_path: Path) -> None:
    limits = "limits: [{ tokens: 15 }]"
    options = {"record_dir": str(tmp_path / "kept")}
    home = {"INTERPOSE_HOME": str(tmp_path / "state")}
    with Upstream(answer) as upstream:
        policy = MODELS.format(url=upstream.url) + limits
        with Chain(policy=policy, options=options, env=home) as chain:
            assert ask(chain) == ask(chain)
        with Chain(policy=policy, options=options, env=home) as chain:
            with pytest.raises(openai.PermissionDeniedError, match="20 of 15 tokens"):
                ask(chain)
