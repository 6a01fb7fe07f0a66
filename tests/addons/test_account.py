"""Accounting: what a turn's row, the headers that a client asks for, and the statistics tell."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from shim.account.bill import Account, Rates, Sent, account, rates
from shim.account.sessions import as_json, sessions, summed
from shim.account.tokens import tokenizer
from shim.policy.load import parse_policy
from shim.policy.schema import Price
from shim.record.summary import decisions
from shim.route.choose import Route
from shim.turn import Usage
from tests.addons.harness import CODEX, Stages, stages
from tests.unit.fixtures import DONE, chunk
from tests.unit.test_dedup import numbered, output

pytestmark = pytest.mark.slow

__all__ = ["stages"]

ASKS = {**CODEX, "x_interpose_account": "yes"}
POLICY = """
providers: {up: {base_url: "http://127.0.0.1:9/v1"}}
models: {m: {provider: up, price: {input: 2, output: 8, cached: 0.5}}}
dedup: {}
"""


def answer(**usage: Any) -> bytes:
    used = {"prompt_tokens": 1000, "completion_tokens": 10, **usage} if usage else None
    last = chunk({}, "stop", usage=used) if used else chunk({}, "stop")
    return chunk({"content": "hello"}) + last + DONE


def turn(
    stages: Stages, items: list[Any], reply: bytes, **headers: str
) -> tuple[Any, dict[str, Any]]:
    flow = stages.flow({"model": "m", "stream": True, "input": items}, **{**ASKS, **headers})
    stages.send(flow)
    stages.answer(flow, reply, content_type="text/event-stream")
    return flow, dict(stages.services.rows[-1])


def test_a_turn_is_accounted_for(stages: Stages) -> None:
    stages.services.policies.put(parse_policy(POLICY))
    items = [
        {"role": "user", "content": "hi"},
        *output(1, numbered(1, 200)),
        *output(2, numbered(1, 200)),
    ]
    cached = {"prompt_tokens_details": {"cached_tokens": 400}}
    flow, row = turn(stages, items, answer(**cached))
    told = row["account"]
    assert told["counted_by"] == "upstream"
    assert (told["input"], told["cached"], told["output"]) == (1000, 400, 10)
    assert told["billed"] == 600 + 0.25 * 400
    assert told["dollars"] == pytest.approx((600 * 2 + 400 * 0.5 + 10 * 8) / 1e6)
    # About as many characters were left out as were sent.
    assert 700 < told["saved"] < 1100 and told["spared"] == pytest.approx(told["saved"], rel=0.01)
    assert "dedup: 1 run of 199 lines" in " ".join(decisions(row))
    assert row["edited"]
    # In a stream's head stands what is known by then.
    assert flow.response.headers["x-interpose-route"] == "m"
    assert int(flow.response.headers["x-interpose-saved"]) > 1000
    assert flow.response.headers["x-interpose-session-billed"] == "0"
    flow, row = turn(stages, [*items, {"role": "user", "content": "again"}], answer(**cached))
    assert flow.response.headers["x-interpose-session-billed"] == "700"
    # What was left out before would have been read from the cache.
    assert row["account"]["spared"] == pytest.approx(row["account"]["saved"] * 0.25, rel=0.01)


def test_headers_only_for_those_who_ask(stages: Stages) -> None:
    stages.services.policies.put(parse_policy(POLICY))
    flow = stages.flow({"model": "m", "stream": True, "input": "hi"}, **CODEX)
    stages.answer(stages.send(flow), answer(total=1), content_type="text/event-stream")
    assert not [name for name in flow.response.headers if name.startswith("x-interpose")]


def test_an_upstream_that_does_not_count(stages: Stages) -> None:
    stages.services.policies.put(parse_policy(POLICY))
    _, row = turn(stages, [{"role": "user", "content": "hi " * 500}], answer())
    assert row["account"]["counted_by"] == tokenizer()[0] != "upstream"
    assert 300 < row["account"]["input"] < 1200


def test_a_request_that_comes_while_the_same_is_under_way(stages: Stages) -> None:
    stages.services.policies.put(parse_policy(POLICY))

    def ask(text: str, **more: Any) -> Any:
        return stages.send(stages.flow({"model": "m", "input": text, **more}, **CODEX))

    first, other = ask("hi", client_metadata={"turn": "1"}), ask("ho")
    again = ask("hi", client_metadata={"turn": "2"})
    assert again.response is None and stages.services.metrics.duplicates == 1
    for flow in (first, other, again):
        stages.answer(flow, answer(total=1), content_type="text/event-stream")
    told = [[d for d in decisions(row) if "duplicate" in d] for row in stages.services.rows]
    assert told == [[], [], [f"duplicate: the same request is still under way as {first.id}"]]
    # The first is over: this one is none.
    assert ask("hi").response is None and stages.services.metrics.duplicates == 1
    stages.services.policies.put(parse_policy(POLICY + "duplicates: refuse\n"))
    refused = ask("hi")
    assert b"still under way" in refused.response.content
    page = stages.flow(path="/health")
    stages.send(page)
    assert json.loads(page.response.content)["duplicates"] == 2


@pytest.mark.parametrize(
    ("route", "price", "expected"),
    [
        (
            Route("a", "messages", "m", "m", "", "https://api.anthropic.com/v1"),
            None,
            Rates(0.1, 1.25, 2.0),
        ),
        (
            Route("o", "chat", "m", "m", "", "https://api.openai.com/v1"),
            None,
            Rates(0.25, 1.25, 2.0),
        ),
        (Route("d", "chat", "m", "m", "", "https://api.deepseek.com"), None, Rates(0.1, 1.25, 2.0)),
        (None, Price(2, 8, 0.5), Rates(0.25, 1.0, 1.0, 4.0)),
        (None, Price(3, 15, 0.3, 3.75), Rates(0.1, 1.25, 2.0, 5.0)),
        (None, Price(3, 15), Rates(1.0, 1.0, 1.0, 5.0)),
    ],
)
def test_rates(route: Route | None, price: Price | None, expected: Rates) -> None:
    found = rates(route, price)
    for name in Rates.__struct_fields__:
        assert getattr(found, name) == pytest.approx(getattr(expected, name))


def test_writes_for_an_hour_cost_more() -> None:
    usage = Usage(1000, cached=500, cache_write=400, cache_write_long=300)
    assert Rates(0.1, 1.25, 2.0).input(usage) == 100 + 1.25 * 100 + 2 * 300 + 50


def row(thread: str, **numbers: Any) -> dict[str, Any]:
    made = account(Usage(100, output=5), "upstream", None, Price(1, 2), Sent(400, 40, 40))
    told = msgspec.to_builtins(msgspec.structs.replace(made, **numbers))
    return {"thread": thread, "route": {"provider": "up", "model": "m"}, "account": told}


def test_sessions_in_numbers() -> None:
    rows = [row("a"), row("b", dollars=None), row("a", input=300), {"thread": "a", "route": {}}]
    first, second = sessions(rows)
    assert (first.name, len(first.accounts), first.failed) == ("a", 2, 1)
    assert first.total("input") == 400 and first.total("saved") == 20
    assert first.dollars == pytest.approx(2 * 0.00011) and second.dollars is None
    whole = as_json(summed([first, second]))
    assert whole["input"] == 500 and whole["failed"] == 1 and whole["models"] == ["up/m"]
    assert msgspec.convert(whole["per_turn"][0], Account).input == 100
