"""Claude Code's deferred tools over an upstream that knows no such thing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shim.wire.messages.read_request import read_request


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "input_schema": {"type": "object"}, **more}


READ, FETCH = tool("Read"), tool("WebFetch", defer_loading=True)
PLACEHOLDER = tool("DeferredToolPlaceholder", defer_loading=True)
SEARCH = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}


def found(name: str) -> list[dict[str, Any]]:
    call = {"type": "tool_use", "id": "toolu_1", "name": "ToolSearch", "input": {}}
    reference = [{"type": "tool_reference", "tool_name": name}]
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": reference}
    return [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]


def says(name: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": json.dumps(found(name))}]


CASES = [
    ([READ, PLACEHOLDER], [], ["Read"]),
    ([READ, FETCH, PLACEHOLDER], found("WebFetch"), ["Read", "WebFetch"]),
    ([READ, FETCH], says("WebFetch"), ["Read"]),
    ([READ, FETCH], found("Read"), ["Read"]),
    ([PLACEHOLDER], [], []),
    # The API searches among them itself, which nobody would do over another upstream.
    ([SEARCH, READ, FETCH], [], [None, "Read", "WebFetch"]),
]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(("tools", "history", "offered"), CASES)
def test_a_deferred_tool_is_offered_once_it_was_found(
    tools: list[Any], history: list[Any], offered: list[str], indent: int | None
) -> None:
    messages = [{"role": "user", "content": "hi"}, *history]
    body = json.dumps({"model": "m", "tools": tools, "messages": messages}, indent=indent)
    turn = read_request(body.encode())
    assert [each.get("name") for each in turn.setting("tools", [])] == offered


def test_the_result_of_a_search_names_the_tool() -> None:
    body = json.dumps({"model": "m", "messages": found("WebFetch")}).encode()
    output = read_request(body).items[-1].output
    assert json.loads(bytes(output))[0]["text"] == "[tool_reference WebFetch]"
