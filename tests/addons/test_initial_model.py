"""The model that was chosen for a user who has chosen none: listed, and above the demo only."""

from __future__ import annotations

import json

from shim.policy.load import parse_policy
from tests.addons.harness import CODEX, TURN, Stages, stages

__all__ = ["stages"]

POLICY = """
providers: {up: {base_url: "http://127.0.0.1:9/v1"}}
models: {big: {provider: up}, blind: {provider: demo}}
default: blind
"""


def listed(stages: Stages, path: str) -> list[str]:
    answer = stages.send(stages.flow(path=path)).response
    assert answer
    page = json.loads(answer.content or b"")
    return [row.get("slug") or row["id"] for row in page.get("models") or page["data"]]


def answers(stages: Stages, model: str) -> str:
    decision = stages.run(stages.send(stages.flow({**TURN, "model": model}, **CODEX))).decision
    assert decision and decision.route
    return decision.route.label


def test_it_answers_instead_of_the_demo_and_is_listed(stages: Stages) -> None:
    stages.services.policies.put(parse_policy(POLICY))
    stages.services.initial_model = "up:vendor/new"
    assert listed(stages, "/v1/models") == ["up:vendor/new", "big", "blind"]
    catalog = listed(stages, "/v1/models?client_version=0.169.0")
    assert set(catalog) == {"big", "blind", "up:vendor/new"}
    assert answers(stages, "unknown") == "up:vendor/new"
    # The demo is to be had by its own name.
    assert answers(stages, "blind") == "blind"
    # An edit of the policy's default counts for more, from the next turn on.
    stages.services.policies.put(parse_policy(POLICY.replace("default: blind", "default: big")))
    assert answers(stages, "unknown") == "big"
    assert listed(stages, "/v1/models") == ["big", "blind"]


def test_health_tells_what_is_not_set(stages: Stages) -> None:
    key = "key: '${NO_SUCH_KEY}'"
    stages.services.policies.put(parse_policy(POLICY.replace('/v1"', f'/v1", {key}')))
    page = stages.send(stages.flow(path="/health")).response
    assert page and json.loads(page.content or b"")["policy"]["unset"] == {"up": ["NO_SUCH_KEY"]}
