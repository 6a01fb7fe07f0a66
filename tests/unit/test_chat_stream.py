"""Chat streams become Responses streams that Codex and the official SDK accept, however they are cut."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.route.choose import Route
from shim.wire.responses.read_request import read_request
from shim.wire.translate import Translation, Translator
from tests.unit import fixtures
from tests.unit.fixtures import DONE, QUIRKS, USAGE, call, chunk

TOOLS = [
    {"type": "function", "name": "run", "parameters": {"type": "object"}},
    {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "definition": "g"}},
    {"type": "namespace", "name": "mcp__lab", "tools": [{"type": "function", "name": "echo"}]},
    {"type": "tool_search", "execution": "client", "parameters": {}},
]
RECORDED = fixtures.recorded("*-chat__*")


def translation(
    codex: bool = True, stream: bool = True, items: Any = "hi", names: Iterable[str] = ()
) -> Translation:
    called = [{"type": "function", "name": n} for n in names]
    request = {"model": "m", "stream": stream, "input": items, "tools": [*TOOLS, *called]}
    turn = read_request(json.dumps(request).encode())
    return Translation(turn, Route("up", "chat", "m", "m", "test"), codex=codex)


def translator(codex: bool = True, data: bytes = b"") -> Translator:
    """For the answer ``data``, whose calls are of tools that were offered."""
    own = {str(t.get("name")) for t in TOOLS} | {"mcp__lab__echo", "tool_search"}
    called = [n.decode() for n in re.findall(rb'"name":\s*"([\w.-]+)"', data)]
    return translation(codex, names=[n for n in called if n not in own]).translator()


def run(data: bytes, codex: bool = True, cuts: list[int] | None = None) -> bytes:
    t = translator(codex, data)
    places = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts or ())})
    pieces = [data[a:b] for a, b in itertools.pairwise(places)]
    return b"".join(map(t.feed, pieces)) + t.close()


def events(stream: bytes) -> list[dict[str, Any]]:
    blocks = stream.decode().split("\n\n")
    assert blocks.pop() == "", "the last event must end with a blank line"
    if blocks[-1] == "data: [DONE]":
        blocks.pop()
    parsed = [json.loads(b.split("data: ", 1)[1]) for b in blocks]
    assert [e["sequence_number"] for e in parsed] == list(range(len(parsed)))
    return parsed


def done_items(stream: bytes) -> list[dict[str, Any]]:
    return [e["item"] for e in events(stream) if e["type"] == "response.output_item.done"]


def last(stream: bytes) -> dict[str, Any]:
    return events(stream)[-1]


def items_from_chat(data: bytes) -> list[dict[str, Any]]:
    return done_items(run(data))


@pytest.mark.parametrize("name", QUIRKS)
def test_quirks(name: str) -> None:
    data, text, calls = QUIRKS[name]
    stream = run(data)
    items = done_items(stream)
    said = "".join(p["text"] for i in items if i["type"] == "message" for p in i["content"])
    made = [(i["name"], i["arguments"]) for i in items if i["type"] == "function_call"]
    assert (said, made) == (text, calls)
    assert last(stream)["type"] == "response.completed"
    assert last(stream)["response"]["output"] == items
    ids = [i["call_id"] for i in items if "call_id" in i]
    assert all(ids) and len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", QUIRKS)
@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 5000), max_size=12))
def test_any_cut_gives_the_same_bytes(name: str, cuts: list[int]) -> None:
    data = QUIRKS[name][0]
    assert run(data, cuts=cuts) == run(data)


@pytest.mark.parametrize("name", QUIRKS)
def test_single_bytes_give_the_same_bytes(name: str) -> None:
    data = QUIRKS[name][0]
    assert run(data, cuts=list(range(len(data)))) == run(data)


def sdk_response(stream: bytes) -> Any:
    """What the official SDK accumulates from ``stream``."""

    def answer(request: Any) -> Any:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)

    http_client = httpx2.Client(transport=httpx2.MockTransport(answer))
    client = openai.OpenAI(api_key="k", base_url="http://test/v1", http_client=http_client)
    with client.responses.stream(model="m", input="hi") as events:
        last: Any = [*events][-1]
        # The helper's final response is the completed one only; an incomplete one is the last event.
        done = last.type == "response.completed"
        return events.get_final_response() if done else last.response


@pytest.mark.skipif(
    not fixtures.INDEX.exists(),
    reason="the recorded provider streams lie beside the checkout, not in it",
)
def test_the_recordings_are_all_there() -> None:
    assert len(RECORDED) == fixtures.indexed("chat") > 0


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.name)
def test_recorded_streams_accumulate_in_the_sdk(path: Path) -> None:
    data = fixtures.body(path)
    stream = run(data, codex=False)
    items = done_items(stream)
    if "error-event" in path.name:
        assert last(stream)["type"] == "response.failed"
        assert "Tool call validation failed" in last(stream)["response"]["error"]["message"]
        return
    response = sdk_response(stream)
    assert response.status in ("completed", "incomplete")
    assert [i.type for i in response.output] == [i["type"] for i in items] != []
    usage = last(stream)["response"]["usage"]
    assert all(isinstance(usage[k], int) for k in ("input_tokens", "output_tokens", "total_tokens"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.name)
@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(0, 200_000), max_size=30))
def test_recorded_streams_under_any_cut(path: Path, cuts: list[int]) -> None:
    data = fixtures.body(path)
    assert run(data, cuts=cuts) == run(data)


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.name)
def test_recorded_streams_in_small_pieces(path: Path) -> None:
    data = fixtures.body(path)
    assert run(data, cuts=list(range(0, len(data), 7))) == run(data)


def test_quirks_accumulate_in_the_sdk() -> None:
    for data, text, calls in QUIRKS.values():
        response = sdk_response(run(data, codex=False))
        assert response.output_text == text or any(
            getattr(p, "refusal", "") == text for i in response.output for p in i.content or ()
        )
        assert [
            (i.name, i.arguments) for i in response.output if i.type == "function_call"
        ] == calls


def test_calls_come_back_as_the_item_codex_accepts() -> None:
    data = (
        chunk(call("apply_patch", '{"input": "*** Begin Patch"}', index=0, id="a"))
        + chunk(call("mcp__lab__echo", "{}", index=1, id="b"))
        + chunk(call("tool_search", '{"query": "x"}', index=2, id="c"))
        + chunk(call("unknown", "{}", index=3, id="d"))
        + chunk({}, "tool_calls")
        + DONE
    )
    patch, echo, search, unknown = items_from_chat(data)
    assert patch["type"] == "custom_tool_call" and patch["input"] == "*** Begin Patch"
    assert (echo["namespace"], echo["name"]) == ("mcp__lab", "echo")
    assert search["type"] == "tool_search_call" and search["arguments"] == {"query": "x"}
    assert search["execution"] == "client"
    assert unknown["type"] == "function_call" and unknown["name"] == "unknown"


def test_a_patch_cut_off_by_the_token_limit_is_not_completed() -> None:
    cut = '{"input": "*** Begin Patch\\n*** Update File: a'
    items = items_from_chat(
        chunk(call("apply_patch", cut, index=0, id="a")) + chunk({}, "length") + DONE
    )
    assert items[0]["input"] == cut


def test_a_call_id_of_an_earlier_turn_is_made_unique() -> None:
    history = [
        {"type": "function_call", "call_id": "0", "name": "run", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "0", "output": "ok"},
    ]
    t = translation(items=history).translator()
    stream = t.feed(chunk(call("run", "{}", index=0, id="0")) + DONE)
    assert done_items(stream)[0]["call_id"] not in ("0", "")


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {
            "reasoning": "hm",
            "reasoning_details": [{"type": "reasoning.text", "text": "hm", "index": 0}],
        },
        {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"content": [{"type": "thinking", "thinking": "hm"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
    ],
)
def test_reasoning_is_shown_and_given_back_under_its_own_name(delta: dict[str, Any]) -> None:
    data = chunk(delta) + chunk({"content": "hello"}, "stop") + DONE
    items = items_from_chat(data)
    assert [i["type"] for i in items if i["type"] == "reasoning"] == ["reasoning"]
    thought = next(i for i in items if i["type"] == "reasoning")
    assert thought["summary"] == [{"type": "summary_text", "text": "hm"}]
    user = {"type": "message", "role": "user", "content": "and?"}
    back = json.loads(translation(items=[*items, user]).request())["messages"][0]
    assert back["role"] == "assistant"
    if isinstance(delta.get("content"), list):
        assert back["content"][0] == {
            "type": "thinking",
            "thinking": [{"type": "text", "text": "hm"}],
        }
    else:
        assert {k: v for k, v in back.items() if k.startswith("reasoning")} == delta


def test_reasoning_of_another_provider_is_left_out() -> None:
    items = items_from_chat(chunk({"reasoning_content": "hm"}) + chunk({"content": "x"}, "stop"))
    turn = translation(items=items)
    turn.route = Route("other", "chat", "m", "m", "test")
    assert "hm" not in turn.request().decode()


def test_pieces_of_reasoning_details_join_and_keep_the_signature() -> None:
    pieces = [
        {"type": "reasoning.text", "text": "a", "index": 0, "signature": ""},
        {"type": "reasoning.text", "text": "b", "index": 0},
        {"type": "reasoning.text", "signature": "SIG", "index": 0},
        {"type": "reasoning.encrypted", "data": "X", "id": "e1"},
    ]
    data = b"".join(chunk({"reasoning_details": [p]}) for p in pieces)
    items = items_from_chat(data + chunk({"content": "hello"}, "stop") + DONE)
    back = json.loads(translation(items=items).request())
    assert back["messages"][0]["reasoning_details"] == [
        {"type": "reasoning.text", "text": "ab", "index": 0, "signature": "SIG"},
        {"type": "reasoning.encrypted", "data": "X", "id": "e1"},
    ]


def test_state_that_comes_after_the_text_goes_back_into_the_same_message() -> None:
    late = {"type": "reasoning.encrypted", "data": "X"}
    data = (
        chunk({"content": "hello"})
        + chunk(call("run", "{}", index=0, id="a"))
        + chunk({"reasoning_details": [late]}, "tool_calls")
        + DONE
    )
    output = {"type": "function_call_output", "call_id": "a", "output": "ok"}
    messages = json.loads(translation(items=[*items_from_chat(data), output]).request())["messages"]
    assert [m["role"] for m in messages] == ["assistant", "tool"]
    assert messages[0]["reasoning_details"] == [late]
    assert messages[0]["content"] == "hello" and messages[0]["tool_calls"][0]["id"] == "a"


def test_usage_is_integers_with_cached_and_reasoning_tokens() -> None:
    usage = {**USAGE, "prompt_tokens": 10.0}
    stream = run(chunk({"content": "x"}, "stop", usage=usage) + DONE)
    assert last(stream)["response"]["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 6},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 14,
    }
    assert b"10.0" not in stream


def test_comments_become_data_events() -> None:
    stream = run(b": wait\n\n" * 3 + chunk({"content": "x"}, "stop") + DONE)
    kinds = [e["type"] for e in events(stream)]
    assert kinds[0] == "response.created"
    assert kinds.count("response.in_progress") == 4


@pytest.mark.parametrize(
    ("codex", "reason", "kind"),
    [
        (True, "length", "response.completed"),
        (False, "length", "response.incomplete"),
        (True, "content_filter", "response.failed"),
        (False, "content_filter", "response.incomplete"),
    ],
)
def test_how_an_answer_ends(codex: bool, reason: str, kind: str) -> None:
    assert last(run(chunk({"content": "x"}, reason) + DONE, codex=codex))["type"] == kind


def test_a_stream_that_breaks_off_is_retried_and_an_error_event_keeps_its_words() -> None:
    broken = last(run(chunk({"content": "x"})))["response"]["error"]
    assert broken["code"] == "server_error" and "broke off" in broken["message"]
    error = {"error": {"message": "no such voice", "type": "invalid_request_error", "code": 400}}
    said = last(run(chunk({"content": "x"}) + b"data: " + json.dumps(error).encode() + b"\n\n"))
    assert said["response"]["error"] == {
        "code": "invalid_prompt",
        "message": "up: no such voice (HTTP 400)",
    }


def test_an_answer_that_is_no_stream_becomes_one_and_the_other_way_round() -> None:
    whole = {
        "id": "c9",
        "choices": [
            {"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
        ],
        "usage": USAGE,
    }
    streamed = translation().translator().whole(json.dumps(whole).encode())
    assert streamed and done_items(streamed)[0]["content"][0]["text"] == "hello"
    plain = translation(stream=False).translator().whole(QUIRKS["plain"][0])
    assert plain and json.loads(plain)["output"][0]["content"][0]["text"] == "hello"
    assert translation().translator().whole(b"<html>hi</html>") is None
    assert translation().translator().whole(b"") is None
