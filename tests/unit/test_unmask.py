"""Answers that pass in their own protocol: order, ends and names around what is held back; and
thoughts that go back as they were signed."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.policy.rules import RedactRule
from shim.prompt.mask import Masks
from shim.prompt.secrets import Finder
from shim.turn import CallDelta, Event, Failure, Finish, Reasoning, Text
from shim.wire.masks import Unmask
from shim.wire.unmask import UnmaskEvents, UnmaskStream

KEY = "sk-proj-abcdefghijklmnopqrstuvwx"
MASK = "MASKED_A_000000000001"
TABLE = {MASK: 'se"c\nret'}
FINDER = Finder([RedactRule(name="k", use="api-keys"), RedactRule(name="m", use="emails")], {})


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in events)


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}


def read(out: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in out.split(b"\n") if line[:7] == b"data: {"]


def passed(protocol: str, *events: dict[str, Any], names: dict[str, str] | None = None) -> Any:
    """What becomes of ``events``; fed as a whole, and byte by byte to the same end."""
    stream = sse(*events) + b"data: [DONE]\n\n"
    whole = UnmaskStream(protocol, Unmask(TABLE, names))
    out = whole.feed(stream) + whole.close()
    cut = UnmaskStream(protocol, Unmask(TABLE, names))
    pieces = [cut.feed(stream[n : n + 1]) for n in range(len(stream))]
    assert b"".join([*pieces, cut.close()]) == out
    return read(out)


def test_a_last_chunk_keeps_its_text_in_order_and_ends_once() -> None:
    got = [c["choices"][0] for c in passed("chat", chunk({"content": "abc M"}, "stop"))]
    assert [(c["delta"], c["finish_reason"]) for c in got] == [({"content": "abc M"}, "stop")]


def test_what_is_held_of_a_call_does_not_begin_it_again() -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "run", "arguments": '{"a":"MA'}}
    got = passed("chat", chunk({"tool_calls": [call]}), chunk({}, "length"))
    said = [t for c in got for t in c["choices"][0]["delta"].get("tool_calls", [])]
    assert [t["function"].get("name") for t in said] == ["run", None]
    assert "".join(t["function"]["arguments"] for t in said) == '{"a":"MA'


def test_held_reasoning_leaves_before_the_text() -> None:
    got = passed("chat", chunk({"reasoning": "x M"}), chunk({"content": "hi"}), chunk({}, "stop"))
    assert [c["choices"][0]["delta"] for c in got][1:3] == [{"reasoning": "M"}, {"content": "hi"}]


def test_parallel_calls_and_choices_may_alternate_within_a_mask() -> None:
    def piece(number: int, text: str) -> dict[str, Any]:
        return chunk({"tool_calls": [{"index": number, "function": {"arguments": text}}]})

    got = passed("chat", piece(0, MASK[:9]), piece(1, MASK[:3]), piece(0, MASK[9:]), piece(1, "!"))
    made = {0: "", 1: ""}
    for c in got:
        (call,) = c["choices"][0]["delta"]["tool_calls"]
        made[call["index"]] += call["function"]["arguments"]
    assert made == {0: r"se\"c\nret", 1: "MAS!"}


@pytest.mark.parametrize("function", [{"name": "a"}, {"name": "a", "arguments": "{}"}])
def test_names_change_once_also_where_they_change_places(function: dict[str, Any]) -> None:
    call = {"index": 0, "id": "c", "function": function}
    swap = {"a": "b", "b": "a"}
    (got,) = passed("chat", chunk({"tool_calls": [call]}), names=swap)
    assert got["choices"][0]["delta"]["tool_calls"][0]["function"]["name"] == "b"
    whole = json.dumps({"choices": [{"message": {"tool_calls": [call]}}]}).encode()
    made = json.loads(UnmaskStream("chat", Unmask({}, swap)).whole(whole))
    assert made["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "b"


def test_a_tools_own_fields_are_not_taken_for_a_call() -> None:
    use = {"type": "tool_use", "name": "a", "input": {"name": "a", "arguments": MASK}}
    body = json.dumps({"content": [use]}).encode()
    made = json.loads(UnmaskStream("messages", Unmask(TABLE, {"a": "b"})).whole(body))
    inner = {"name": "a", "arguments": TABLE[MASK]}
    assert made["content"][0] == {"type": "tool_use", "name": "b", "input": inner}


ERRORS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "messages": (
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "a MASK"},
        },
        {"type": "error", "error": {"type": "overloaded_error", "message": "x"}},
    ),
    "responses": (
        {"type": "response.output_text.delta", "output_index": 0, "delta": "a MASK"},
        {"type": "error", "message": "x"},
    ),
    "chat": (chunk({"content": "a MASK"}), {"error": {"message": "x"}}),
}


@pytest.mark.parametrize("protocol", sorted(ERRORS))
def test_what_is_held_leaves_before_an_error(protocol: str) -> None:
    delta, error = ERRORS[protocol]
    got = passed(protocol, delta, error)
    assert got[-1] == error and "MASK" in json.dumps(got[1]) and len(got) == 3


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n", b"\r\n\r\n"])
def test_an_answer_that_breaks_off_loses_nothing(end: bytes) -> None:
    cut = sse(ERRORS["chat"][0])[:-2] + end
    stream = UnmaskStream("chat", Unmask(TABLE))
    got = read(stream.feed(cut) + stream.close())
    assert "".join(c["choices"][0]["delta"]["content"] for c in got) == "a MASK"
    broken = UnmaskStream("chat", Unmask(TABLE))
    out = broken.feed(sse(ERRORS["chat"][0]) + b'data: {"brok') + broken.close()
    assert out.endswith(b'data: {"brok') and out.count(b"\n\n") == 2


def test_a_text_in_events_ends_where_a_call_goes_on() -> None:
    events: list[Event] = [Reasoning("M"), Text("MA"), CallDelta(1, "M"), Text("S"), Failure("x")]
    assert UnmaskEvents(Unmask(TABLE)).filter(events) == [
        Reasoning("M"),
        Text("MA"),
        Text("S"),
        CallDelta(1, "M"),
        Failure("x"),
    ]
    assert UnmaskEvents(Unmask({})).filter([Finish("stop")]) == [Finish("stop")]


THOUGHT = st.lists(
    st.sampled_from(["@@", "x", "-y", " ", "\n", "kim@mail.example", KEY[:-1], "MASKED_", "ü"]),
    max_size=6,
).map("".join)


@settings(deadline=None)
@given(THOUGHT, st.lists(st.integers(0, 200), max_size=5), st.booleans())
def test_a_signed_thought_goes_back_as_it_was(said: str, at: list[int], streamed: bool) -> None:
    masks = Masks(FINDER, b"k")
    said = said.replace("@@", masks.hide(KEY))
    ends = sorted({0, len(said), *(n % (len(said) + 1) for n in at)})
    pieces = [said[a:b] for a, b in itertools.pairwise(ends)]
    stream = UnmaskStream("messages", Unmask(masks.table))
    block: dict[str, Any] = {"type": "thinking", "thinking": said, "signature": "S"}
    if streamed:
        deltas: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": p} for p in pieces]
        deltas.append({"type": "signature_delta", "signature": "S"})
        begun = {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}}
        events = [{"type": "content_block_delta", "index": 0, "delta": d} for d in deltas]
        out = stream.feed(sse(begun, *events, {"type": "content_block_stop", "index": 0}))
        shown = "".join(e.get("delta", {}).get("thinking", "") for e in read(out))
        block["thinking"] = shown
    else:
        body = json.dumps({"content": [block]}).encode()
        block = json.loads(stream.whole(body))["content"][0]
    assert block["thinking"] == Unmask(masks.table).whole(said)
    back = masks.hide_json(msgspec.Raw(json.dumps({"content": [block]}).encode()))
    assert json.loads(bytes(back))["content"][0] == {**block, "thinking": said}


def test_a_signed_thought_nobody_remembers_loses_its_secrets_still() -> None:
    masks = Masks(FINDER, b"k")
    mask = masks.hide(KEY)
    block = {"type": "thinking", "thinking": f"{KEY} to made@up.example", "signature": "S"}
    hidden = bytes(masks.hide_json(msgspec.Raw(json.dumps({"content": [block]}).encode())))
    said = json.loads(hidden)["content"][0]["thinking"]
    assert said == f"{mask} to made@up.example"


def test_a_secret_that_a_model_glued_to_a_word_is_masked_on_its_way_back() -> None:
    masks = Masks(FINDER, b"k")
    said = f"x{masks.hide(KEY)}."
    shown = Unmask(masks.table).whole(said)
    assert shown == f"x{KEY}." and masks.hide(shown) == said


def test_a_mask_inside_what_only_looks_like_one_is_found() -> None:
    unmask = Unmask({MASK: "a", "MASKED_MASKED_A_000000000002": "b"})
    assert unmask.whole("MASKED_MASKED_A_000000000001") == "MASKED_a"
    assert unmask.whole("MASKED_MASKED_A_000000000002") == "b"


def test_many_masks_cost_a_turn_little() -> None:
    table = {f"MASKED_A_{n:012x}": f"secret {n}" for n in range(3000)}
    unmask = Unmask(table)
    text = " ".join(table)
    assert unmask.whole(text) == " ".join(table.values())
    assert unmask.split("hello MASKED_A_00", inside_json=False) == ("hello ", "MASKED_A_00")
    assert len(unmask._pattern.pattern) < 100
