"""The picker as a stage: what a switch does to the turns that come, and whom it answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mitmproxy import http

from addons.picker import Picker
from shim.policy.load import parse_policy
from tests.addons.harness import POLICY, TURN, Stages, error, stages, with_policy

__all__ = ["stages"]

FORM = "application/x-www-form-urlencoded"


def switch(stages: Stages, model: str, **more: Any) -> http.HTTPFlow:
    token = stages.one(Picker)._guard.token
    headers = {"content_type": "application/json", "x_interpose_token": token}
    return stages.send(stages.flow({"model": model, **more}, "/api/switch", **headers))


def status(flow: http.HTTPFlow) -> int:
    assert flow.response
    return flow.response.status_code


def listed(stages: Stages, **headers: str) -> Any:
    flow = stages.send(stages.flow(path="/api/models", **headers))
    assert flow.response and status(flow) == 200
    return json.loads(flow.response.content or b"")


def route(stages: Stages, model: str, **headers: str) -> str:
    decision = stages.run(stages.send(stages.flow({**TURN, "model": model}, **headers))).decision
    assert decision and decision.route
    return decision.route.name


def test_a_switch_counts_from_the_next_turn_on(stages: Stages) -> None:
    with_policy(stages)
    assert (route(stages, "gpt-5.5"), route(stages, "big")) == ("big", "big")
    assert listed(stages)["chosen"] == "big"
    done = switch(stages, "blind")
    assert status(done) == 200 and done.response
    told = json.loads(done.response.content or b"")
    assert told["chosen"] == "blind" and told["codex"] is None
    assert "in its memory" in " ".join(told["says"])
    assert (route(stages, "gpt-5.5"), route(stages, "big")) == ("blind", "blind")
    assert status(switch(stages, "big")) == 200
    assert (route(stages, "gpt-5.5"), route(stages, "blind")) == ("big", "big")
    assert (
        json.loads(stages.send(stages.flow(path="/health")).response.content)["policy"]["default"]
        == "big"
    )  # type: ignore[union-attr,arg-type]


def test_what_the_exchange_says_of_it(stages: Stages) -> None:
    with_policy(stages)
    switch(stages, "blind")
    notes = stages.notes(stages.send(stages.flow({**TURN, "model": "big"})))
    assert "route: demo/blind by the switch to it, instead of big" in notes


def test_a_model_that_nobody_knows(stages: Stages) -> None:
    with_policy(stages)
    code, said = error(switch(stages, "bigg"))
    assert code == 400 and "no model bigg" in said and "big" in said.replace("bigg", "")
    assert status(switch(stages, "x" * 9000)) == 400
    assert listed(stages)["chosen"] == "big" and listed(stages)["switched"] is None


def test_a_form_leads_back_to_the_page(stages: Stages) -> None:
    with_policy(stages)
    body = f"token={stages.one(Picker)._guard.token}&model=blind".encode()
    done = stages.send(stages.flow(body, "/api/switch", content_type=FORM))
    assert status(done) == 303 and done.response
    assert done.response.headers["location"] == "/picker"
    page = stages.send(stages.flow(path="/picker"))
    assert page.response and b"Switched to blind" in (page.response.content or b"")
    failed = stages.send(stages.flow(body + b"x", "/api/switch", content_type=FORM))
    assert status(failed) == 400 and failed.response
    assert b"Nothing was switched: the policy has no model blindx" in (
        failed.response.content or b""
    )


def test_a_restart_where_it_cannot_be_done(stages: Stages) -> None:
    with_policy(stages)
    assert status(switch(stages, "blind", restart=True)) == 200
    assert "was not restarted" in listed(stages)["restarted"]
    assert status(switch(stages, "big")) == 200
    assert listed(stages)["restarted"] == ""


def test_a_client_key_is_needed_and_the_token_too(stages: Stages) -> None:
    with_policy(stages)
    stages.access(keys=("right-key",))
    assert status(switch(stages, "blind")) == 401
    body = {"model": "blind"}
    keyed = {"content_type": "application/json", "x_api_key": "right-key"}
    assert status(stages.send(stages.flow(body, "/api/switch", **keyed))) == 403
    assert listed(stages, x_api_key="right-key")["chosen"] == "big"
    keyed["x_interpose_token"] = stages.one(Picker)._guard.token
    assert status(stages.send(stages.flow(body, "/api/switch", **keyed))) == 200
    assert listed(stages, x_api_key="right-key")["chosen"] == "blind"


@pytest.mark.parametrize("path", ["/picker", "/api/models", "/api/switch"])
def test_another_machine_gets_nothing_even_with_a_key(stages: Stages, path: str) -> None:
    with_policy(stages)
    stages.access(keys=("right-key",))
    body = {"model": "blind"} if path == "/api/switch" else None
    flow = stages.flow(body, path, x_api_key="right-key")
    flow.client_conn.peername = ("192.168.1.9", 1234)
    flow.request.headers["x-interpose-token"] = stages.one(Picker)._guard.token
    assert status(stages.send(flow)) == 403
    assert listed(stages, x_api_key="right-key")["chosen"] == "big"


def test_clients_lists_under_a_base_url_that_ends_in_api(stages: Stages) -> None:
    """Without a policy, and for Codex, /api/models is the list of models that it always was."""
    passed = stages.send(stages.flow(path="/api/models"))
    assert passed.response is None and passed.request.port == 1
    assert error(stages.send(stages.flow(path="/picker")))[0] == 404
    assert error(switch(stages, "big"))[0] == 404
    stages.access(keys=("right-key",))
    assert status(stages.send(stages.flow(path="/api/models"))) == 401
    stages.access(keys=None)
    with_policy(stages)
    codex = stages.send(stages.flow(path="/api/models?client_version=0.169.0"))
    assert codex.response and "slug" in json.loads(codex.response.content or b"")["models"][0]


def test_health_comes_from_the_breakers(stages: Stages) -> None:
    with_policy(stages)
    settings = POLICY.providers["up"].health
    for _ in range(settings.failures):
        stages.services.breakers.bad("up", "it is <gone>", settings)
    found = {row["name"]: row["health"] for row in listed(stages)["models"]}
    assert found == {"big": "open: it is <gone>", "blind": "ok"}
    page = stages.send(stages.flow(path="/picker"))
    assert page.response and b"it is &lt;gone&gt;" in (page.response.content or b"")


def test_a_policy_that_loses_the_model_takes_its_own_default(stages: Stages) -> None:
    with_policy(stages)
    switch(stages, "blind")
    stages.services.policies.put(parse_policy("models: {only: {provider: demo}}\ndefault: only"))
    assert route(stages, "big") == "only" and listed(stages)["chosen"] == "only"
