"""A Turn as a Chat Completions request: what Codex sends reaches a plain chat model whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.route.choose import Route
from shim.turn import WireError
from shim.wire.responses.read_request import read_request
from shim.wire.translate import Translation


def encode(items: Any, *, images: bool = True, **fields: Any) -> dict[str, Any]:
    body = translation(items, images=images, **fields).request()
    return dict(json.loads(body))


def translation(items: Any, *, images: bool = True, **fields: Any) -> Translation:
    request = {"model": "m", "input": items, **fields}
    turn = read_request(json.dumps(request).encode())
    return Translation(turn, Route("up", "chat", "up-m", "m", "test", images=images), codex=True)


def message(role: str, *texts: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": t} for t in texts]}


def call(call_id: str, name: str = "run", **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}", **more}


def output(call_id: str, value: Any = "ok", kind: str = "function_call_output") -> dict[str, Any]:
    return {"type": kind, "call_id": call_id, "output": value}


def test_leading_instructions_share_one_system_message_and_later_ones_stay_in_place() -> None:
    items = [
        message("developer", "base"),
        message("developer", "skills"),
        message("user", "hi"),
        message("assistant", "yes"),
        message("developer", "changed"),
        message("user", "go"),
    ]
    assert encode(items)["messages"] == [
        {"role": "system", "content": "base\n\nskills"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yes"},
        {"role": "system", "content": "changed"},
        {"role": "user", "content": "go"},
    ]


def test_an_older_codex_puts_its_instructions_in_a_field() -> None:
    messages = encode([message("user", "hi")], instructions="base")["messages"]
    assert messages[0] == {"role": "system", "content": "base"}


def test_a_plain_string_is_a_user_message() -> None:
    assert encode("hi")["messages"] == [{"role": "user", "content": "hi"}]


def test_parallel_calls_share_a_message_and_each_output_follows_it() -> None:
    items = [
        message("user", "go"),
        message("assistant", "ok"),
        call("a"),
        call("b"),
        output("a", "A"),
        output("b", "B"),
        message("assistant", "done"),
    ]
    messages = encode(items)["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [c["id"] for c in messages[1]["tool_calls"]] == ["a", "b"]
    assert messages[1]["content"] == "ok"
    assert [(m["tool_call_id"], m["content"]) for m in messages[2:4]] == [("a", "A"), ("b", "B")]


def test_an_output_without_its_call_and_a_call_without_output_are_kept_readable() -> None:
    messages = encode([output("gone", "text"), call("a"), message("user", "stop")])["messages"]
    assert messages[0]["role"] == "user" and "text" in messages[0]["content"]
    assert [m["role"] for m in messages[1:]] == ["assistant", "tool", "user"]
    assert "interrupted" in messages[2]["content"]


def test_call_ids_that_repeat_pair_up_in_order() -> None:
    items = [call("0"), output("0", "first"), call("0"), output("0", "second")]
    tools = [m["content"] for m in encode(items)["messages"] if m["role"] == "tool"]
    assert tools == ["first", "second"]


def test_custom_and_namespaced_tools_become_functions_and_history_uses_the_same_names() -> None:
    tools = [
        {
            "type": "custom",
            "name": "apply_patch",
            "description": "Patch.",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
        },
        {
            "type": "namespace",
            "name": "mcp__lab",
            "tools": [{"type": "function", "name": "echo", "parameters": {"type": "object"}}],
        },
    ]
    items = [
        {"type": "custom_tool_call", "call_id": "p", "name": "apply_patch", "input": "*** x"},
        output("p", "done", "custom_tool_call_output"),
        call("e", "echo", namespace="mcp__lab"),
        output("e"),
    ]
    body = encode(items, tools=tools, tool_choice="auto")
    functions = {t["function"]["name"]: t["function"] for t in body["tools"]}
    assert set(functions) == {"apply_patch", "mcp__lab__echo"}
    assert "start: x" in functions["apply_patch"]["description"]
    assert functions["apply_patch"]["parameters"]["required"] == ["input"]
    calls = [c["function"] for m in body["messages"] for c in m.get("tool_calls", ())]
    assert [c["name"] for c in calls] == ["apply_patch", "mcp__lab__echo"]
    assert json.loads(calls[0]["arguments"]) == {"input": "*** x"}


def test_additional_tools_items_bring_tools_and_no_message() -> None:
    items = [
        {
            "type": "additional_tools",
            "role": "developer",
            "tools": [
                {
                    "type": "namespace",
                    "name": "functions",
                    "tools": [{"type": "function", "name": "exec_command", "parameters": {}}],
                },
                {
                    "type": "namespace",
                    "name": "web",
                    "tools": [{"type": "function", "name": "get"}],
                },
            ],
        },
        message("user", "hi"),
    ]
    body = encode(items)
    assert [t["function"]["name"] for t in body["tools"]] == ["exec_command", "web__get"]
    assert [m["role"] for m in body["messages"]] == ["user"]


def test_tool_names_fit_the_upstream_and_stay_apart() -> None:
    names = ["a.b", "a_b", "x" * 80, "x" * 79 + "y"]
    body = encode("hi", tools=[{"type": "function", "name": n} for n in names])
    flat = [t["function"]["name"] for t in body["tools"]]
    assert len(set(flat)) == 4 and all(len(n) <= 64 and "." not in n for n in flat)


def test_images_go_along_or_leave_a_placeholder() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "high"}
    user = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "see"}, image],
    }
    parts = encode([user])["messages"][0]["content"]
    assert parts[1] == {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,AA", "detail": "high"},
    }
    blind = translation([user], images=False)
    text = json.loads(blind.request())["messages"][0]["content"]
    assert isinstance(text, str) and "text only" in text
    assert any("image left out" in n for n in blind.notes)


def test_images_in_outputs_follow_the_tool_messages() -> None:
    picture = [
        {"type": "input_text", "text": "shot"},
        {"type": "input_image", "image_url": "data:x"},
    ]
    messages = encode([call("a"), call("b"), output("a", picture), output("b")])["messages"]
    assert [m["role"] for m in messages] == ["assistant", "tool", "tool", "user"]
    assert messages[1]["content"] == "shot"
    assert messages[3]["content"][1]["image_url"]["url"] == "data:x"


def test_settings_are_mapped_or_named() -> None:
    turn = translation(
        "hi",
        stream=True,
        reasoning={"effort": "high"},
        temperature=0.5,
        max_output_tokens=9,
        text={"format": {"type": "json_schema", "name": "n", "strict": True, "schema": {"a": 1}}},
        service_tier="priority",
        tools=[{"type": "web_search"}],
        parallel_tool_calls=True,
        client_metadata={"session": "private"},
        prompt_cache_key="private",
        store=False,
        include=[],
    )
    body = json.loads(turn.request())
    assert body["reasoning_effort"] == "high" and body["max_tokens"] == 9
    assert body["response_format"]["json_schema"] == {
        "name": "n",
        "strict": True,
        "schema": {"a": 1},
    }
    assert body["stream_options"] == {"include_usage": True}
    assert "tools" not in body and "parallel_tool_calls" not in body
    assert "private" not in json.dumps(body)
    assert sorted(turn.notes) == [
        "setting service_tier left out: no counterpart in Chat Completions",
        "tool web_search left out: no counterpart in Chat Completions",
    ]


def test_an_unknown_item_is_named_and_breaks_nothing() -> None:
    turn = translation([{"type": "brand_new", "x": 1}, message("user", "hi")])
    assert [m["role"] for m in json.loads(turn.request())["messages"]] == ["user"]
    assert turn.notes == ["item brand_new left out: no counterpart in Chat Completions"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"[]", None),
        (b"{", None),
        (b"{}", "input"),
        (b'{"input": 3}', "input"),
        (b'{"input": [3]}', "input[0]"),
        (b'{"input": [], "tools": [3]}', "tools[0]"),
        (b'{"input": "x", "model": 3}', "model"),
        (b"\xff", None),
        (b'{"input": [{"call_id": 3}]}', "input[0].call_id"),
        (b'{"input": [{"role": "user", "content": 3}]}', "input[0].content"),
    ],
)
def test_a_bad_request_names_the_field(body: bytes, param: str | None) -> None:
    with pytest.raises(WireError) as e:
        turn = read_request(body)
        Translation(turn, Route("up", "chat", "m", "m", "test"), codex=True).request()
    assert e.value.param == param and e.value.status == 400


_item = st.sampled_from(
    [
        message("user", "u"),
        message("assistant", "a"),
        message("developer", "d"),
        call("1"),
        output("1"),
        call("2"),
        output("2", [{"type": "input_image", "image_url": "data:x"}]),
        {"type": "reasoning", "summary": [], "encrypted_content": None},
        {"type": "mystery"},
    ]
)


@settings(max_examples=200, deadline=None)
@given(items=st.lists(_item, max_size=12))
def test_every_history_keeps_the_order_providers_insist_on(items: list[dict[str, Any]]) -> None:
    messages = encode(items)["messages"]
    waiting: list[str] = []
    for m in messages:
        if m["role"] == "tool":
            assert m["tool_call_id"] == waiting.pop(0)
        else:
            assert not waiting
            waiting = [c["id"] for c in m.get("tool_calls", ())]
            assert m["content"] or waiting or m["role"] == "assistant"
    assert not waiting


@settings(max_examples=100, deadline=None)
@given(items=st.lists(_item, max_size=10), more=st.lists(_item, max_size=4))
def test_a_longer_history_only_appends(
    items: list[dict[str, Any]], more: list[dict[str, Any]]
) -> None:
    """Provider caches hit on a common prefix: a turn that ended whole is never rewritten."""
    turn = [*items, message("user", "next")]
    answered = {i["call_id"] for i in turn if "output" in i}
    missing = [
        output(i["call_id"])
        for i in turn
        if i["type"] == "function_call" and i["call_id"] not in answered
    ]
    short = [*turn[:-1], *missing, message("user", "next")]
    later = [i for i in more if "call_id" not in i]
    first = encode(short)["messages"]
    assert encode([*short, *later])["messages"][: len(first)] == first


def test_an_adjacent_pair_reads_like_any_other_call_and_output() -> None:
    items = [call("a", arguments='{"x": "\\u00e9\\n"}'), output("a", 'a "quoted" text\n')]
    apart = [items[0], call("b"), items[1], output("b")]
    pair, (assistant, tool, _) = encode(items)["messages"], encode(apart)["messages"]
    assert pair[0] == {**assistant, "tool_calls": assistant["tool_calls"][:1]}
    assert pair[1] == tool
