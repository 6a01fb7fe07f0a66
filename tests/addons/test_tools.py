"""Tools taken away, renamed and described anew: the model and the client each see their own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shim.policy.load import parse_policy
from tests.addons.harness import Stages, stages
from tests.unit.fixtures import DONE, chunk

__all__ = ["stages"]

SSE = {"content_type": "text/event-stream"}
RULES = """
tools:
  exec_command: { rename: run, description: Runs it. }
  "mcp__*": { remove: true }
  web_search: { remove: true }
"""


def policy(protocol: str, rules: str = RULES) -> Any:
    return parse_policy(f"""
providers: {{ up: {{ base_url: "http://127.0.0.1:9/v1", protocol: {protocol} }} }}
models: {{ m: {{ provider: up }} }}
default: m
{rules}""")


def sent(stages: Stages, body: dict[str, Any], path: str, protocol: str) -> dict[str, Any]:
    stages.services.policies.put(policy(protocol))
    flow = stages.send(stages.flow({"model": "m", "stream": True, **body}, path=path))
    assert flow.response is None, flow.response.content
    stages.last = flow  # type: ignore[attr-defined]
    return dict(json.loads(flow.request.content or b""))


RESPONSES: dict[str, Any] = {
    "input": [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "c0", "name": "exec_command", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c0", "output": "exec_command ran"},
    ],
    "tools": [
        {"type": "function", "name": "exec_command", "description": "old", "parameters": {}},
        {"type": "namespace", "name": "mcp__lab", "tools": [{"type": "function", "name": "x"}]},
        {"type": "custom", "name": "apply_patch"},
        {"type": "web_search"},
    ],
    "tool_choice": {"type": "function", "name": "exec_command"},
}


def test_a_renamed_tool_comes_back_under_the_clients_name(stages: Stages) -> None:
    body = sent(stages, RESPONSES, "/v1/responses", "chat")
    assert [t["function"]["name"] for t in body["tools"]] == ["run", "apply_patch"]
    assert body["tools"][0]["function"]["description"] == "Runs it."
    assert body["tool_choice"]["function"]["name"] == "run"
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "run"
    assert body["messages"][2]["content"] == "exec_command ran"
    call = {"index": 0, "id": "c1", "function": {"name": "run", "arguments": "{}"}}
    answer = chunk({"tool_calls": [call]}) + chunk({}, "tool_calls") + DONE
    got = stages.answer(stages.last, answer, **SSE)  # type: ignore[attr-defined]
    assert b'"name":"exec_command"' in got and b'"name":"run"' not in got


def test_the_same_where_the_protocol_stays(stages: Stages) -> None:
    body = sent(stages, RESPONSES, "/v1/responses", "responses")
    assert [t.get("name") for t in body["tools"]] == ["run", "apply_patch"]
    assert body["input"][1]["name"] == "run" and body["input"][2] == RESPONSES["input"][2]
    item = {"type": "function_call", "call_id": "c", "name": "run", "arguments": "{}"}
    stream = b"".join(
        b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **more}).encode())
        for kind, more in (
            ("response.output_item.added", {"output_index": 0, "item": item}),
            ("response.output_item.done", {"output_index": 0, "item": item}),
            ("response.completed", {"response": {"id": "r", "output": [item]}}),
        )
    )
    got = stages.answer(stages.last, stream, **SSE)  # type: ignore[attr-defined]
    assert got.count(b'"name":"exec_command"') == 3 and b'"run"' not in got


def test_chat_and_messages_alike(stages: Stages) -> None:
    call = {"id": "c0", "type": "function", "function": {"name": "exec_command", "arguments": "{}"}}
    function = {"type": "function", "function": {"name": "exec_command", "parameters": {}}}
    chat = {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c0", "content": "x"},
        ],
        "tools": [function],
        "tool_choice": "auto",
    }
    body = sent(stages, chat, "/v1/chat/completions", "chat")
    assert body["tools"][0]["function"]["name"] == "run"
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "run"
    answer = chunk(
        {"tool_calls": [{"index": 0, **call, "function": {"name": "run", "arguments": ""}}]}
    )
    got = stages.answer(stages.last, answer + DONE, **SSE)  # type: ignore[attr-defined]
    assert b'"name":"exec_command"' in got
    use = {"type": "tool_use", "id": "t", "name": "exec_command", "input": {}}
    messages = {
        "max_tokens": 9,
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
        ],
        "tools": [{"name": "exec_command", "input_schema": {}}],
        "tool_choice": {"type": "tool", "name": "exec_command"},
    }
    body = sent(stages, messages, "/v1/messages", "messages")
    assert body["tools"][0]["name"] == body["tool_choice"]["name"] == "run"
    assert body["messages"][1]["content"][0]["name"] == "run"
    start = {"type": "content_block_start", "index": 0, "content_block": {**use, "name": "run"}}
    stream = b"event: content_block_start\ndata: " + json.dumps(start).encode() + b"\n\n"
    got = stages.answer(stages.last, stream, **SSE)  # type: ignore[attr-defined]
    assert b'"name":"exec_command"' in got


@pytest.mark.parametrize("choice", [{"type": "function", "name": "gone"}, "required"])
def test_a_choice_of_a_tool_that_is_gone_is_left_to_the_model(stages: Stages, choice: Any) -> None:
    tools = [{"type": "function", "name": "gone"}, {"type": "function", "name": "stays"}]
    stages.services.policies.put(policy("responses", "tools: { gone: { remove: true } }"))
    body = {"model": "m", "input": "hi", "tools": tools, "tool_choice": choice}
    flow = stages.send(stages.flow(body))
    made = json.loads(flow.request.content or b"")
    assert [t["name"] for t in made["tools"]] == ["stays"]
    assert made["tool_choice"] == ("required" if choice == "required" else "auto")


def test_without_any_tool_left_there_is_no_list_and_no_choice(stages: Stages) -> None:
    stages.services.policies.put(policy("responses", "tools: { gone: { remove: true } }"))
    tools = [{"type": "function", "name": "gone"}]
    flow = stages.send(
        stages.flow({"model": "m", "input": "x", "tools": tools, "tool_choice": "auto"})
    )
    assert not {"tools", "tool_choice"} & set(json.loads(flow.request.content or b""))


def test_a_name_that_is_taken_is_not_given_twice(stages: Stages) -> None:
    tools = [{"type": "function", "name": "exec_command"}, {"type": "function", "name": "run"}]
    body = sent(stages, {"input": "x", "tools": tools}, "/v1/responses", "responses")
    assert [t["name"] for t in body["tools"]] == ["exec_command", "run"]
