"""Capabilities: per provider or per request, what each of their values changes upstream."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from shim.policy.load import parse_policy
from shim.policy.rules import RedactRule
from tests.addons.harness import Stages, error, stages
from tests.unit.fixtures import DONE, chunk

pytestmark = pytest.mark.slow

__all__ = ["stages"]

TOOL = {"type": "function", "function": {"name": "mine", "parameters": {"type": "object"}}}
CHAT: dict[str, Any] = {
    "model": "m",
    "stream": True,
    "messages": [{"role": "user", "content": "hi"}],
    "tools": [TOOL],
    "x_unknown": 1.50,
}
SSE = {"content_type": "text/event-stream"}


def policy(capabilities: str, protocol: str = "chat") -> Any:
    return parse_policy(f"""
providers:
  up: {{ base_url: "http://127.0.0.1:9/v1", key: k, protocol: {protocol}{capabilities} }}
models: {{ m: {{ provider: up, model: far }} }}
default: m
""")


def sent(
    stages: Stages,
    provider: str = "",
    own: dict[str, Any] | None = None,
    body: dict[str, Any] = CHAT,
    protocol: str = "chat",
    path: str = "/v1/chat/completions",
) -> dict[str, Any]:
    """What reaches the upstream for ``body``, with these capabilities."""
    extra = f", capabilities: {{ {provider} }}" if provider else ""
    stages.services.policies.put(policy(extra, protocol))
    more = {"codex_capabilities": own} if own is not None else {}
    flow = stages.send(stages.flow({**body, **more}, path=path))
    assert flow.response is None, flow.response.content
    stages.last = flow  # type: ignore[attr-defined]
    return dict(json.loads(flow.request.content or b""))


def both(name: str, value: Any) -> list[dict[str, Any]]:
    """A capability by the provider's entry, and by the request's own field."""
    return [{"provider": f"{name}: {json.dumps(value)}"}, {"own": {name: value}}]


def test_without_any_the_body_passes_but_for_the_models_name(stages: Stages) -> None:
    plain = sent(stages)
    assert plain == {**CHAT, "model": "far"}
    # Those of a transparent proxy change nothing in it.
    assert sent(stages, own={}) == plain
    for name, value in (
        ("prompt_mode", "client"),
        ("tool_schema_mode", "custom_only"),
        ("tool_text_format", "none"),
        ("include_environment_context", False),
        ("codex_passthrough", False),
        ("bypass_tool_call_reactor", True),
    ):
        for how in both(name, value):
            assert sent(stages, **how) == plain, name


@pytest.mark.parametrize("how", both("prompt_mode", "codex_default"))
def test_codex_default_gives_codexs_instructions_to_who_has_none(
    stages: Stages, how: dict[str, Any]
) -> None:
    first = sent(stages, **how)["messages"][0]
    assert first["role"] == "system" and "coding agent" in first["content"]
    own = [{"role": "system", "content": "mine"}, *CHAT["messages"]]
    assert sent(stages, **how, body={**CHAT, "messages": own})["messages"] == own


@pytest.mark.parametrize("how", both("tool_schema_mode", "merge"))
def test_merge_offers_codexs_tools_too(stages: Stages, how: dict[str, Any]) -> None:
    names = [t["function"]["name"] for t in sent(stages, **how)["tools"]]
    assert names == ["mine", "exec_command", "write_stdin", "apply_patch"]
    messages = {**CHAT, "max_tokens": 9, "tools": [{"name": "mine", "input_schema": {}}]}
    made = sent(stages, **how, body=messages, path="/v1/messages", protocol="messages")
    assert [t["name"] for t in made["tools"]] == names
    responses = {"model": "m", "input": "hi", "tools": [{"type": "custom", "name": "apply_patch"}]}
    made = sent(stages, **how, body=responses, path="/v1/responses", protocol="responses")
    assert [t["name"] for t in made["tools"]] == ["apply_patch", "exec_command", "write_stdin"]


@pytest.mark.parametrize("how", both("tool_text_format", "hermes"))
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_tools_as_text_are_described_and_their_calls_come_back_as_calls(
    stages: Stages, how: dict[str, Any], path: str
) -> None:
    body = CHAT
    if path.endswith("responses"):
        tool = {"type": "function", "name": "mine", "parameters": {}}
        body = {"model": "m", "stream": True, "input": "hi", "tools": [tool]}
    made = sent(stages, **how, body=body, path=path)
    first = made["messages"][0]
    assert first["role"] == "system" and "mine" in first["content"]
    assert "<tool_call>" in first["content"] and len(made["tools"]) == 1
    said = 'On it. <tool_call>{"name": "mine", "arguments": {"a": 1}}</tool_call>'
    answer = b"".join(chunk({"content": letter}) for letter in said) + chunk({}, "stop") + DONE
    got = stages.answer(stages.last, answer, **SSE)  # type: ignore[attr-defined]
    assert b"<tool_call" not in got and b"mine" in got
    assert (b'"type":"function_call"' if path.endswith("responses") else b'"tool_calls"') in got


@pytest.mark.parametrize("how", both("include_environment_context", True))
def test_the_environment_is_told_behind_the_instructions(
    stages: Stages, how: dict[str, Any]
) -> None:
    own = [{"role": "system", "content": "mine"}, {"role": "user", "content": "in <cwd>/w</cwd>"}]
    made = sent(stages, **how, body={**CHAT, "messages": own})["messages"]
    assert [m["role"] for m in made] == ["system", "user", "user"]
    told = made[1]["content"]
    assert "<cwd>/w</cwd>" in told and "<shell>" in told and "<current_date>20" in told


@pytest.mark.parametrize("how", both("include_environment_context", True))
def test_the_environment_is_told_without_secrets(stages: Stages, how: dict[str, Any]) -> None:
    extra = f", capabilities: {{ {how['provider']} }}" if "provider" in how else ""
    masked = policy(extra, "chat")
    rule = RedactRule(name="customer", pattern="CUST-[0-9]+")
    stages.services.policies.put(msgspec.structs.replace(masked, redact=[rule]))
    told = json.dumps({"workspaces": {"/work/CUST-4711/shop": {}}})
    body = {**CHAT, "stream": False, **({"codex_capabilities": how["own"]} if "own" in how else {})}
    flow = stages.send(
        stages.flow(body, path="/v1/chat/completions", x_codex_turn_metadata=told, thread_id="t")
    )
    sent = (flow.request.content or b"").decode()
    assert "<cwd>/work/MASKED_CUSTOMER_" in sent and "CUST-4711" not in sent
    answer = {"id": "1", "choices": [{"message": {"content": sent}, "finish_reason": "stop"}]}
    got = stages.answer(flow, json.dumps(answer).encode(), content_type="application/json")
    assert b"<cwd>/work/CUST-4711/shop" in got


@pytest.mark.parametrize("how", both("codex_passthrough", True))
def test_passthrough_sends_the_body_as_it_is_but_for_model_and_key(
    stages: Stages, how: dict[str, Any]
) -> None:
    body = {"model": "m", "input": "hi", "client_metadata": {"cwd": "/w"}, "odd": 1.50}
    made = sent(stages, **how, body=body, path="/v1/responses")
    assert made == {**body, "model": "far"}
    request = stages.last.request  # type: ignore[attr-defined]
    assert request.path == "/v1/responses" and request.headers["authorization"] == "Bearer k"
    stream = b'data: {"type":"response.completed","response":{"id":"r"}}\n\n'
    assert stages.answer(stages.last, stream, **SSE) == stream  # type: ignore[attr-defined]


def test_a_request_cannot_pass_by_the_policys_own_rules(stages: Stages) -> None:
    text = """
providers: {up: {base_url: "http://127.0.0.1:9/v1"}}
models: {m: {provider: up}}
redact: [{name: customer, pattern: 'CUST-[0-9]+'}]
"""
    stages.services.policies.put(parse_policy(text))
    said = [{"role": "user", "content": "CUST-1234"}]
    body = {**CHAT, "messages": said, "codex_capabilities": {"codex_passthrough": True}}
    flow = stages.send(stages.flow(body, path="/v1/chat/completions"))
    assert b"CUST-" not in (flow.request.content or b"")
    assert b"MASKED_CUSTOMER_" in (flow.request.content or b"")


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("openai-chat", "/v1/responses", CHAT),
        ("openai-responses", "/v1/chat/completions", {"model": "m", "input": "hi"}),
        (
            "anthropic-messages",
            "/v1/responses",
            {"model": "m", "max_tokens": 9, "messages": CHAT["messages"]},
        ),
    ],
)
def test_protocol_says_how_the_body_is_read_whatever_its_path(
    stages: Stages, name: str, path: str, body: dict[str, Any]
) -> None:
    for how in both("protocol", name):
        made = sent(stages, **how, body={**body, "stream": True}, path=path)
        assert made["model"] == "far" and made["messages"][-1]["content"] == "hi"
        answer = chunk({"content": "hello"}, "stop") + DONE
        got = stages.answer(stages.last, answer, **SSE)  # type: ignore[attr-defined]
        mark = {
            "openai-chat": b'"chat.completion.chunk"',
            "openai-responses": b'"response.completed"',
            "anthropic-messages": b'"message_stop"',
        }[name]
        assert mark in got


def test_calls_nobody_offered_come_back_as_calls_only_where_asked_for(stages: Stages) -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "strange", "arguments": "{}"}}
    answer = chunk({"tool_calls": [call]}) + chunk({}, "tool_calls") + DONE
    body = {
        "model": "m",
        "stream": True,
        "input": "hi",
        "tools": [{"type": "function", "name": "f"}],
    }
    for own, is_call in (
        ({"bypass_tool_call_reactor": True}, True),
        ({"bypass_tool_call_reactor": False}, False),
        (None, False),
    ):
        sent(stages, own=own, body=body, path="/v1/responses")
        got = stages.answer(stages.last, answer, **SSE)  # type: ignore[attr-defined]
        assert (b'"type":"function_call"' in got) is is_call
        assert (b"not offered here" in got) is not is_call


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"prompt_modes": "client"}, "prompt_modes: no such capability"),
        ({"prompt_mode": "mine"}, "prompt_mode"),
        ([], "must be an object"),
    ],
)
def test_what_is_no_capability_is_refused_by_name(stages: Stages, own: Any, words: str) -> None:
    flow = stages.send(
        stages.flow({**CHAT, "codex_capabilities": own}, path="/v1/chat/completions")
    )
    status, said = error(flow)
    assert status == 400 and words in said


def test_a_requests_own_goes_before_its_providers(stages: Stages) -> None:
    made = sent(stages, "tool_schema_mode: merge", {"tool_schema_mode": "custom_only"})
    assert len(made["tools"]) == 1
