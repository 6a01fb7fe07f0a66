"""Who answers: names, rules, memory of the thread; the fixed order of what decides."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import Any

import msgspec
import pytest
import yaml

from shim.client import Facts, client_name, facts_of
from shim.policy.schema import Policy
from shim.prompt.effort import with_effort
from shim.route.choose import NoRoute
from shim.route.decide import Choice, Decider, routes
from shim.route.rules import Asked, RouteRules
from shim.route.tried import again, tried_in, without_tried
from shim.turn import Turn
from shim.wire.protocols import codec

MODELS = """
providers: {up: {base_url: "http://a/v1"}, other: {base_url: "http://b/v1"}}
models:
  small: {provider: up}
  big: {provider: other, fallbacks: [small, spare]}
  spare: {provider: up, fallbacks: [last]}
  last: {provider: other}
  vision: {provider: up}
default: small
"""


def policy(text: str = "") -> Policy:
    return msgspec.convert(yaml.safe_load(MODELS) | (yaml.safe_load(text) or {}), Policy)


def turn(text: str = "hi", model: str = "team", **fields: Any) -> Turn:
    said = fields.pop("input", [{"role": "user", "content": text}])
    body = {"model": model, "input": said, **fields}
    return codec("responses").read_request(json.dumps(body).encode())


def asked(made: Turn, **facts: Any) -> Asked:
    names = {k: facts.pop(k) for k in ("headers", "tags", "now") if k in facts}
    return Asked(
        made,
        names.get("headers", {}),
        Facts(**facts),
        names.get("tags", frozenset()),
        names.get("now", 0),
    )


class Team:
    """One chain's decisions over several turns."""

    def __init__(self, text: str = "") -> None:
        self.policy = policy(text)
        self._rules = RouteRules(self.policy.route)
        self._decider = Decider()

    def choice(self, made: Turn, **facts: Any) -> Choice:
        return self._decider.decide(self.policy, self._rules, asked(made, **facts))

    def model(self, made: Turn, **facts: Any) -> str:
        return self.choice(made, **facts).names[0]


def test_exact_name_then_prefix_then_effort_then_default() -> None:
    team = Team(
        "models: {small: {provider: up}, 'small:high': {provider: up}, big: {provider: up}}"
    )
    assert team.choice(turn(model="small:high")).effort is None
    for name, model, effort in (
        ("big:high", "big", "high"),
        ("up:x:high", "up:x:high", None),
        ("big:odd", "small", None),
        ("team", "small", None),
        ("", "small", None),
    ):
        found = team.choice(turn(model=name))
        assert (found.names[0], found.effort) == (model, effort), name
    with pytest.raises(NoRoute, match="did you mean big"):
        Team("default: null").choice(turn(model="bigg"))


@pytest.mark.parametrize(
    ("when", "yes", "no"),
    [
        ("{text: '#hard'}", {"text": "a #hard one"}, {"text": "easy"}),
        ("{pattern: '(?i)refactor|redesign'}", {"text": "ReDesign it"}, {"text": "sign"}),
        ("{model: 'team*'}", {"model": "team-2"}, {"model": "other"}),
        ("{tag: hard}", {"tags": {"hard"}}, {"tags": {"easy"}}),
        ("{client: [codex, aider]}", {"client": "aider"}, {"client": "curl"}),
        ("{project: '*/shop'}", {"project": "/w/shop"}, {"project": "/w/shopping"}),
        ("{larger_than: 1k}", {"text": "word " * 2000}, {"text": "word " * 200}),
        ("{smaller_than: 1000}", {"text": "word"}, {"text": "word " * 2000}),
        (
            "{effort: [high, max]}",
            {"reasoning": {"effort": "max"}},
            {"reasoning": {"effort": "low"}},
        ),
        ("{header: {x-team: 'core*'}}", {"headers": {"x-team": "core-1"}}, {"headers": {}}),
        ("{older_than: 2h}", {"started": 1000, "now": 9000}, {"started": 8000, "now": 9000}),
        ("{younger_than: 10m}", {"started": 8900, "now": 9000}, {"started": 1000, "now": 9000}),
        ("{tools: true}", {"tools": [{"type": "function", "name": "f"}]}, {}),
        ("{tools: 'mcp_*'}", {"tools": [{"type": "function", "name": "mcp_x"}]}, {"tools": []}),
        (
            "{images: true}",
            {
                "input": [
                    {"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}
                ]
            },
            {},
        ),
        (
            "{days: [sat, sun]}",
            {"now": datetime(2026, 11, 21, 12).timestamp()},
            {"now": datetime(2026, 11, 20, 12).timestamp()},
        ),
        (
            "{hours: '22:00-06:00'}",
            {"now": datetime(2026, 1, 1, 23).timestamp()},
            {"now": datetime(2026, 1, 1, 6).timestamp()},
        ),
        (
            "{hours: '09:00-17:30'}",
            {"now": datetime(2026, 1, 1, 17, 29).timestamp()},
            {"now": datetime(2026, 1, 1, 8).timestamp()},
        ),
    ],
)
def test_each_condition(when: str, yes: dict[str, Any], no: dict[str, Any]) -> None:
    team = Team(f"route: [{{when: {when}, to: vision}}]")
    known = ("tags", "client", "project", "headers", "started", "now")
    for given, model in ((yes, "vision"), (no, "small")):
        facts = {name: value for name, value in given.items() if name in known}
        made = turn(**{name: value for name, value in given.items() if name not in known})
        assert team.model(made, **facts) == model, given


def test_the_first_rule_that_holds_wins_and_all_its_conditions_must() -> None:
    team = Team("""
route:
- {when: {text: a, client: codex}, to: big}
- {name: second, when: {text: a}, to: vision}
- {to: last}
""")
    assert team.model(turn("a"), client="codex") == "big"
    assert team.choice(turn("a"), client="x").reason == "the rule second"
    assert team.model(turn("b")) == "last"


def test_a_model_asked_for_by_name_is_moved_by_a_rule_that_names_it_only() -> None:
    rules = "route: [{when: {text: a}, to: vision}, {when: {model: big, text: b}, to: last}]"
    team = Team(rules)
    found = team.choice(turn("a", model="big"))
    assert found.names == ("big",) and found.explicit
    assert team.model(turn("a", model="up:x")) == "up:x"
    moved = team.choice(turn("b", model="big"))
    assert moved.names == ("last",) and not moved.explicit


def test_a_thread_keeps_its_model_unless_a_rule_may_move_it() -> None:
    team = Team("""
route:
- {when: {images: true}, to: vision, mid_thread: true}
- {when: {text: hard}, to: big}
""")
    image = [{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}]
    assert team.model(turn("hard"), thread="t") == "big"
    assert team.choice(turn("easy now"), thread="t").reason == "what the thread had before"
    assert team.model(turn("easy"), thread="other") == "small"
    assert team.model(turn("hard"), thread="other") == "small"
    assert team.model(turn(input=image), thread="t") == "vision"
    assert team.model(turn("easy"), thread="t") == "vision"


def test_edited_routes_count_for_threads_under_way() -> None:
    team = Team("route: [{to: big}]")
    assert team.model(turn(), thread="t") == "big"
    team.policy = policy("default: last")
    team._rules = RouteRules([])
    assert team.model(turn(), thread="t") == "last"


def test_shares_are_kept_by_thread_and_about_as_wanted() -> None:
    rules = "route: [{to: {split: {big: 3, small: 1}}}]"
    team, other = Team(rules), Team(rules)
    models = [team.model(turn(), thread=str(n)) for n in range(800)]
    assert 540 < Counter(models)["big"] < 660
    # Another chain says the same, without having seen the thread.
    assert [other.model(turn(), thread=str(n)) for n in range(50)] == models[:50]


def test_round_robin_goes_by_thread() -> None:
    team = Team("route: [{when: {model: big}, to: {round_robin: [big, last]}}]")
    found = [team.model(turn(model="big"), thread=t) for t in ("a", "b", "a", "c", "b")]
    assert found == ["big", "last", "big", "big", "last"]


def test_candidates_are_a_model_its_alternatives_and_all_their_fallbacks_once() -> None:
    made = policy()
    names = [r.label for r in routes(made, ["big"], "x", "why", "responses")]
    assert names == ["big", "small", "spare", "last"]
    found = routes(made, ["vision", "big"], "x", "why", "responses")
    assert [r.label for r in found] == ["vision", "big", "small", "spare", "last"]
    assert found[0].reason == "why" and found[2].reason == "why; a fallback of vision"
    assert [r.label for r in routes(made, ["up:m"], "x", "why", "responses")] == ["up:m"]


def test_an_effort_in_each_protocols_words() -> None:
    made = with_effort(turn(reasoning={"summary": "auto"}), "high")
    assert json.loads(made.body)["reasoning"] == {"summary": "auto", "effort": "high"}
    for protocol in ("chat", "messages"):
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        one = codec(protocol).read_request(json.dumps(body).encode())
        assert with_effort(one, "high").setting("reasoning") == {"effort": "high"}
        assert with_effort(one, "none").setting("reasoning")["effort"] == "none"


def test_what_was_tried_is_in_the_query_and_comes_off_again() -> None:
    path = "/v1/responses?a=1"
    sent_on = again(path, frozenset({"m,1", "up:x"}))
    assert without_tried(sent_on) == path and tried_in(sent_on) == {"m,1", "up:x"}
    assert without_tried(again("/v1/x", frozenset({"m"}))) == "/v1/x"
    assert tried_in(path) == frozenset()
    assert again("//other.host/v1/responses", frozenset({"m"})).startswith("/other.host/")


def test_who_asks() -> None:
    for agent, name in (
        ("codex_exec/0.169.0", "codex"),
        ("claude-cli/2.1 (external)", "claude-code"),
        ("OpenAI/Python 2.1", "openai-sdk"),
        ("Anthropic/JS 1", "anthropic-sdk"),
        ("opencode/1.18", "opencode"),
        ("Mozilla/5.0", "other"),
    ):
        assert client_name({"user-agent": agent}) == name
    headers = {
        "thread-id": "01a1fc68-d9a2-74e0-b334-db61c516dd8e",
        "session-id": "s",
        "x-codex-turn-metadata": json.dumps({"workspaces": {"/work/shop": {}}}),
    }
    facts = facts_of(headers, turn(), "k")
    assert (facts.client, facts.project, facts.session, facts.key) == (
        "codex",
        "/work/shop",
        "s",
        "k",
    )
    assert facts.started and datetime.fromtimestamp(facts.started).year == 2026
    told = facts_of({}, turn("<cwd>C:\\Users\\me</cwd>"))
    assert told.project == "C:\\Users\\me" and told.started is None
    # A conversation without a name is known by how it begins.
    long = turn(input=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "x"}])
    assert facts_of({}, turn("hi")).thread == facts_of({}, long).thread
    assert facts_of({}, turn("hi")).thread != facts_of({}, turn("ho")).thread
    assert facts_of({}, turn("hi"), "k").thread != facts_of({}, turn("hi")).thread
