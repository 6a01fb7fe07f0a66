"""The models a provider lists against those that the policy names."""

from __future__ import annotations

import json

import pytest

from shim.doctor.listed import missing, named, names
from shim.policy.load import parse_policy


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        ({"object": "list", "data": [{"id": "a"}, {"id": "b"}]}, ["a", "b"]),
        ({"data": [{"id": "a", "type": "model"}], "has_more": False}, ["a"]),
        ({"data": [{"id": "a"}], "has_more": True}, None),
        ({"models": [{"slug": "a"}]}, ["a"]),
        ({"models": [{"name": "models/a"}]}, ["models/a"]),
        ([{"id": "a"}], ["a"]),
        (["a"], ["a"]),
        ({"object": "list", "data": None}, []),
        ({"object": "list", "data": []}, []),
        ({"status": "ok"}, None),
        ({"data": "x"}, None),
        ({"data": [{"x": 1}, 3, None]}, None),
        ("x", None),
    ],
)
def test_the_names_in_a_list(raw: object, ids: list[str] | None) -> None:
    assert names(json.dumps(raw).encode()) == ids


def test_what_is_no_list_is_none() -> None:
    assert names(b"<html>") is None and names(b"\xff") is None and names(b"") is None


@pytest.mark.parametrize(
    ("model", "ids", "end"),
    [
        ("a", ["a"], None),
        ("llama3.2", ["llama3.2:latest"], None),
        ("gemini-2", ["models/gemini-2"], None),
        ("x/y:free", ["x/y"], None),
        ("claude-4", ["claude-4-20250514"], None),
        ("claude-4-latest", ["claude-4-20250514"], None),
        ("kimi-k2", ["moonshotai/kimi-k2", "z"], "; did you mean moonshotai/kimi-k2?"),
        ("Qwen-3", ["qwen-3"], "; did you mean qwen-3?"),
        ("acme/lagre", ["acme/large", "acme/small"], "; did you mean acme/large?"),
        ("llama3.2:70b", ["llama3.2:latest"], "; did you mean llama3.2:latest?"),
        ("zzz", ["a", "b"], "; it lists a, b"),
        ("zzz", [f"model-{n}" for n in range(300)], " among the 300 it lists"),
        ("zzz", [], "; its list is empty"),
    ],
)
def test_what_is_missing_and_what_is_near(model: str, ids: list[str], end: str | None) -> None:
    assert missing(model, ids) == end


def test_the_models_that_a_policy_names_at_each_provider() -> None:
    policy = parse_policy("""
providers: { up: { base_url: "http://h/v1" }, other: { base_url: "http://h/v1" } }
models:
  mine: { provider: up, model: vendor/one, fallbacks: [up:two], price: { input: 1, output: 1 } }
  same: { provider: other }
  demo: { provider: demo }
route: [{ to: [up:three, mine] }, { to: { split: { other:four: 1, mine: 1 } } }]
limits: [{ money: 1, then: cheaper, to: other:five }]
auto: { classifier: up:six, candidates: [{ model: mine, card: x }] }
default: up:seven
""")
    assert named(policy) == {
        "up": {
            "vendor/one": "models.mine",
            "seven": "default",
            "two": "models.mine.fallbacks",
            "three": "route[0].to",
            "six": "auto.classifier",
        },
        "other": {"same": "models.same", "four": "route[1].to", "five": "limits[0].to"},
        "demo": {"demo": "models.demo"},
    }
