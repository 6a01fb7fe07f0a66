"""Tools without a schema on the wire reach other upstreams as functions and come back as items."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shim.route.choose import Route
from shim.tools.bridge import Bridge
from shim.turn import WireError
from shim.wire.protocols import codec
from shim.wire.responses.read_request import read_request
from shim.wire.translate import Translation

CASES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    (
        "local_shell",
        "local_shell",
        {"command": ["ls"]},
        {"type": "local_shell_call", "action": {"type": "exec", "command": ["ls"]}},
    ),
    (
        "shell",
        "shell",
        {"commands": ["ls", "pwd"]},
        {"type": "shell_call", "action": {"commands": ["ls", "pwd"]}},
    ),
    (
        "apply_patch",
        "apply_patch",
        {"type": "update_file", "path": "a.py", "diff": "@@\n-a\n+b\n"},
        {
            "type": "apply_patch_call",
            "operation": {"type": "update_file", "path": "a.py", "diff": "@@\n-a\n+b\n"},
        },
    ),
    (
        "computer_use_preview",
        "computer",
        {"type": "click", "x": 1, "y": 2},
        {
            "type": "computer_call",
            "action": {"type": "click", "x": 1, "y": 2},
            "pending_safety_checks": [],
        },
    ),
]


def written(upstream: str, items: list[dict[str, Any]], tools: list[Any]) -> tuple[Any, list[str]]:
    body = {"model": "m", "input": items, "tools": tools}
    turn = read_request(json.dumps(body).encode())
    made = Translation(turn, Route("up", upstream, "m", "m", "t"), codex=False)  # type: ignore[arg-type]
    return json.loads(made.request()), made.notes


@pytest.mark.parametrize(("kind", "name", "arguments", "item"), CASES)
def test_a_call_comes_back_as_the_item_the_client_runs(
    kind: str, name: str, arguments: dict[str, Any], item: dict[str, Any]
) -> None:
    bridge = Bridge([{"type": kind}])
    assert bridge.call_item(name, "c1", json.dumps(arguments)) == {**item, "call_id": "c1"}


@pytest.mark.parametrize("upstream", ["chat", "messages"])
@pytest.mark.parametrize(("kind", "name", "arguments", "item"), CASES)
def test_a_call_in_the_history_is_a_call_of_the_function(
    upstream: str, kind: str, name: str, arguments: dict[str, Any], item: dict[str, Any]
) -> None:
    output: Any = "done"
    if kind == "shell":
        output = [{"stdout": "a.py", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]
    elif name == "computer":
        output = {"type": "computer_screenshot", "image_url": "data:image/png;base64,QUJD"}
    answer = {"type": f"{item['type']}_output", "call_id": "c1", "output": output}
    user = {"role": "user", "content": "go"}
    body, notes = written(upstream, [user, {**item, "call_id": "c1"}, answer], [{"type": kind}])
    text = json.dumps(body)
    assert not notes
    if upstream == "chat":
        call = body["messages"][1]["tool_calls"][0]
        assert call["function"]["name"] == body["tools"][0]["function"]["name"] == name
        given = json.loads(call["function"]["arguments"])
        assert body["messages"][2]["role"] == "tool"
    else:
        (call,) = body["messages"][1]["content"]
        assert call["name"] == body["tools"][0]["name"] == name
        given = call["input"]
        assert body["messages"][2]["content"][0]["tool_use_id"] == "c1"
    assert arguments.items() <= given.items()
    assert ("QUJD" in text) == (name == "computer")
    assert ("a.py" in text) == (kind in ("shell", "apply_patch"))


@pytest.mark.parametrize("upstream", ["chat", "messages"])
def test_what_servers_run_is_named_and_not_offered(upstream: str) -> None:
    items = [
        {"role": "user", "content": "go"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}},
        {"role": "assistant", "content": "found"},
    ]
    body, notes = written(upstream, items, [{"type": "web_search"}, {"type": "file_search"}])
    assert "tools" not in body
    assert len(notes) == 3 and notes[0].startswith("item web_search_call left out")
    assert "tool web_search" in notes[1] and "tool file_search" in notes[2]
    assert [m["role"] for m in body["messages"]] == ["user", "assistant"]


@pytest.mark.parametrize("upstream", ["chat", "messages"])
def test_a_text_model_is_told_of_a_screenshot(upstream: str) -> None:
    screenshot = {"type": "computer_screenshot", "image_url": "data:image/png;base64,QUJD"}
    items = [
        {"role": "user", "content": "go"},
        {"type": "computer_call", "call_id": "c", "action": {"type": "screenshot"}},
        {"type": "computer_call_output", "call_id": "c", "output": screenshot},
    ]
    request = json.dumps({"model": "m", "input": items, "tools": [{"type": "computer_use"}]})
    route = Route("up", upstream, "m", "m", "t", images=False)  # type: ignore[arg-type]
    made = Translation(read_request(request.encode()), route, codex=False)
    body = made.request()
    assert b"QUJD" not in body and b"image left out" in body and made.notes


@pytest.mark.parametrize("upstream", ["chat", "messages"])
@pytest.mark.parametrize(
    ("choice", "chat", "messages", "offered"),
    [
        ("auto", "auto", {"type": "auto"}, 2),
        ("required", "required", {"type": "any"}, 2),
        ("none", "none", {"type": "none"}, 2),
        (
            {"type": "function", "name": "f"},
            {"type": "function", "function": {"name": "f"}},
            {"type": "tool", "name": "f"},
            2,
        ),
        (
            {"type": "apply_patch"},
            {"type": "function", "function": {"name": "apply_patch"}},
            {"type": "tool", "name": "apply_patch"},
            2,
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "f"}],
            },
            "required",
            {"type": "any"},
            1,
        ),
    ],
)
def test_every_form_of_tool_choice(
    upstream: str, choice: Any, chat: Any, messages: Any, offered: int
) -> None:
    tools = [
        {"type": "function", "name": "f", "parameters": {"type": "object"}},
        {"type": "apply_patch"},
    ]
    body = {"model": "m", "input": "hi", "tools": tools, "tool_choice": choice}
    turn = read_request(json.dumps(body).encode())
    made = Translation(turn, Route("up", upstream, "m", "m", "t"), codex=False)  # type: ignore[arg-type]
    asked = json.loads(made.request())
    assert asked["tool_choice"] == (chat if upstream == "chat" else messages)
    assert len(asked["tools"]) == offered


@pytest.mark.parametrize("upstream", ["chat", "responses"])
def test_a_request_for_anthropics_own_tool_alone_is_refused_by_name(upstream: str) -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    own = {"name": "f", "input_schema": {"type": "object"}}
    route = Route("up", upstream, "m", "m", "t")  # type: ignore[arg-type]

    def made(*tools: dict[str, Any]) -> Translation:
        said = [{"role": "user", "content": "hi"}]
        body = {"model": "m", "max_tokens": 9, "messages": said, "tools": tools}
        turn = codec("messages").read_request(json.dumps(body).encode())
        return Translation(turn, route, codex=False)

    with pytest.raises(WireError, match="web_search_20250305"):
        made(search).request()
    beside = made(search, own)
    assert len(json.loads(beside.request())["tools"]) == 1
    assert any("web_search_20250305" in note for note in beside.notes)


def test_calls_in_the_history_of_a_turn_without_tools_are_named_to_messages() -> None:
    items = [
        {"role": "user", "content": "go"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "done"},
        {"role": "user", "content": "Summarise."},
    ]
    body, _ = written("messages", items, [])
    assert [t["name"] for t in body["tools"]] == ["f"] and body["tool_choice"] == {"type": "none"}
