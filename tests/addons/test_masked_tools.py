"""What a policy masks in the definitions of tools, and its way back in the calls of them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from shim.policy.load import parse_policy
from tests.addons.harness import Stages, stages
from tests.unit.fixtures import DONE, chunk

__all__ = ["stages"]

SECRET = "CUST-4711"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": f"of {SECRET}",
    "properties": {
        f"for_{SECRET}": {"type": "string", "description": f"say {SECRET}", "enum": [SECRET]},
        "id": {"type": "string", "default": SECRET, "const": SECRET},
        "more": {"type": "object", "default": {"id": SECRET, "type": SECRET, "data": [SECRET]}},
    },
    "required": [f"for_{SECRET}"],
    "examples": [{"id": SECRET, "status": SECRET}],
    "$defs": {SECRET: {"enum": [{"role": SECRET}]}},
}
TOOL = {"name": "look", "description": f"looks for {SECRET}"}
SAID = [{"role": "user", "content": "hi"}]
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "responses": (
        "/v1/responses",
        {"input": SAID, "tools": [{"type": "function", **TOOL, "parameters": SCHEMA}]},
    ),
    "chat": (
        "/v1/chat/completions",
        {"messages": SAID, "tools": [{"type": "function", "function": {**TOOL, "parameters": SCHEMA}}]},
    ),
    "messages": (
        "/v1/messages",
        {
            "messages": SAID,
            "max_tokens": 9,
            "tools": [{**TOOL, "input_schema": SCHEMA, "input_examples": [{"id": SECRET}]}],
        },
    ),
}


@pytest.mark.parametrize("upstream", REQUESTS)
@pytest.mark.parametrize("client", REQUESTS)
def test_no_part_of_a_definition_tells_a_secret(stages: Stages, client: str, upstream: str) -> None:
    flow = _sent(stages, client, upstream)
    assert SECRET.encode() not in (flow.request.content or b"")
    masks = set(re.findall(rb"MASKED_CUSTOMER_[0-9a-f]{12}", flow.request.content or b""))
    assert len(masks) == 1


@pytest.mark.parametrize("client", REQUESTS)
def test_a_call_comes_back_with_names_and_values_of_the_clients_own(
    stages: Stages, client: str
) -> None:
    flow = _sent(stages, client, "chat")
    (mask,) = set(re.findall(r"MASKED_CUSTOMER_[0-9a-f]{12}", (flow.request.content or b"").decode()))
    given = json.dumps({f"for_{mask}": mask, "more": {"id": mask}})
    pieces = [given[at : at + 7] for at in range(0, len(given), 7)]
    answer = chunk({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}]})
    for piece in pieces:
        answer += chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    got = stages.answer(flow, answer + chunk({}, "tool_calls") + DONE, content_type="text/event-stream")
    text = "".join(_arguments(json.loads(line[5:])) for line in got.splitlines() if line[:6] == b"data: " and line[6:7] == b"{")
    assert json.loads(text) == {f"for_{SECRET}": SECRET, "more": {"id": SECRET}}
    assert b"MASKED" not in got


def _sent(stages: Stages, client: str, upstream: str) -> Any:
    stages.services.policies.put(
        parse_policy(f"""
providers: {{up: {{base_url: "http://127.0.0.1:9/v1", protocol: {upstream}}}}}
models: {{m: {{provider: up}}}}
default: m
redact: [{{name: customer, pattern: 'CUST-[0-9]+'}}]
""")
    )
    path, body = REQUESTS[client]
    flow = stages.send(stages.flow({"model": "m", "stream": True, **body}, path=path))
    assert flow.response is None, flow.response.content
    return flow


def _arguments(event: dict[str, Any]) -> str:
    """The piece of a call's arguments in an event of any protocol."""
    if event.get("type") == "response.function_call_arguments.delta":
        return str(event["delta"])
    if event.get("type") == "content_block_delta":
        return str(event["delta"].get("partial_json", ""))
    calls = [
        call for choice in event.get("choices", ()) for call in choice["delta"].get("tool_calls", ())
    ]
    return "".join(call["function"].get("arguments", "") for call in calls)
