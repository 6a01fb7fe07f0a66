"""What a family of providers refuses is left out and named; what it calls otherwise is renamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shim.route.choose import Route
from shim.wire.protocols import codec
from shim.wire.quirks import FAMILIES, HOSTS, PLAIN, quirks
from shim.wire.translate import Translation
from tests.unit.fixtures import DONE, call, chunk

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
FORM = {"format": {"type": "json_schema", "name": "reply", "schema": SCHEMA}}


def made(url: str, client: str = "responses", **settings: Any) -> Translation:
    asked: dict[str, Any] = {"model": "m", "stream": True, "input": "hi", **settings}
    turn = codec(client).read_request(json.dumps(asked).encode())
    return Translation(turn, Route("up", "chat", "m", "m", "t", base_url=url), codex=False)


@pytest.mark.parametrize(("host", "family"), HOSTS.items())
def test_a_host_and_what_is_below_it_belong_to_a_family(host: str, family: str) -> None:
    assert quirks(f"https://{host}/v1") is FAMILIES[family]
    assert quirks(f"https://eu.{host}:8443/v1") is FAMILIES[family]
    assert quirks(f"https://not{host}/v1") is PLAIN


def test_unknown_hosts_are_plain() -> None:
    assert quirks(None) is quirks("http://127.0.0.1:11434/v1") is PLAIN


def test_names_and_refusals() -> None:
    one = made("https://api.groq.com/openai/v1", max_output_tokens=9, logit_bias={"1": 1}, seed=4)
    body = json.loads(one.request())
    assert body["max_completion_tokens"] == 9 and "max_tokens" not in body
    assert body["seed"] == 4 and "logit_bias" not in body
    assert any("logit_bias" in note for note in one.notes)
    assert one.warning and "logit_bias" in one.warning
    two = json.loads(made("https://api.mistral.ai/v1", seed=4).request())
    assert two["random_seed"] == 4 and "seed" not in two


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("http://127.0.0.1/v1", {"reasoning_effort": "high"}),
        ("https://openrouter.ai/api/v1", {"reasoning": {"effort": "high"}}),
        ("https://api.z.ai/v4", {"thinking": {"type": "enabled"}}),
        ("https://api.deepseek.com", {}),
    ],
)
def test_effort_in_the_familys_words(url: str, field: dict[str, Any]) -> None:
    one = made(url, reasoning={"effort": "high"})
    body = json.loads(one.request())
    found = {k: body[k] for k in ("reasoning_effort", "reasoning", "thinking") if k in body}
    assert found == field and bool(one.notes) == (not field)


def test_a_forced_tool_stands_in_for_a_schema_and_its_call_is_the_answer() -> None:
    one = made("https://api.deepseek.com", text=FORM)
    body = json.loads(one.request())
    (tool,) = body["tools"]
    assert tool["function"]["parameters"] == SCHEMA and "response_format" not in body
    name = tool["function"]["name"]
    assert body["tool_choice"] == {"type": "function", "function": {"name": name}}
    stream = chunk(call(name, '{"n":', index=0, id="c")) + chunk(call(None, " 5}", index=0))
    translator = one.translator()
    out = translator.feed(stream + chunk({}, "tool_calls") + DONE) + translator.close()
    assert b"function_call" not in out
    last = json.loads(out.decode().split("data: ")[-2])["response"]
    assert json.loads(last["output"][0]["content"][0]["text"]) == {"n": 5}
    assert translator.calls == 0


def test_beside_other_tools_the_model_may_call_either() -> None:
    run = {"type": "function", "name": "run", "parameters": {"type": "object"}}
    one = made("https://api.deepseek.com", text=FORM, tools=[run])
    body = json.loads(one.request())
    first, second = body["tools"]
    assert first["function"]["name"] == "run" != second["function"]["name"]
    assert body["tool_choice"] == "required"


def test_a_family_with_schemas_gets_the_schema() -> None:
    body = json.loads(made("https://api.openai.com/v1", text=FORM).request())
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA and "tools" not in body
