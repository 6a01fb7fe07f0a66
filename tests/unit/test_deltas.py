"""What a stream says in pieces is put together alike, slowly and quickly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.record.deltas import pieces_of, said, shortened

TEXTS = st.sampled_from(
    ["word ", "a", 'say "so"', "\n", "\\", "ü€", "😀", "\ud83d", "", "data: {", '","x":"', "12"]
) | st.text(max_size=4)
INDEX = st.integers(0, 1)


def _responses(index: int, text: str, number: int, more: dict[str, Any]) -> dict[str, Any]:
    kind = ("response.output_text.delta", "response.function_call_arguments.delta")[number % 2]
    head = {"type": kind, "sequence_number": number, "item_id": f"i{index}"}
    return {**head, "output_index": index, "content_index": number // 3, "delta": text, **more}


def _messages(index: int, text: str, number: int, more: dict[str, Any]) -> dict[str, Any]:
    name = ("text", "thinking", "partial_json")[number % 3]
    delta = {"type": f"{name}_delta", name: text}
    return {"type": "content_block_delta", "index": index, "delta": delta, **more}


def _chat(index: int, text: str, number: int, more: dict[str, Any]) -> dict[str, Any]:
    call = {"index": index, "function": {"arguments": text}}
    detail = {"index": index, "type": "reasoning.text", "text": text}
    delta: dict[str, Any] = [
        {"content": text},
        {"reasoning_content": text},
        {"tool_calls": [call]},
        {"reasoning_details": [detail], "reasoning": text},
        {"content": text, "refusal": None},
    ][number % 5]
    choice = {"index": index, "delta": delta, "finish_reason": None}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more}


MORE = st.sampled_from([{}, {}, {}, {"obfuscation": "x7"}, {"usage": {"total": 3}}])
EVENTS = st.lists(st.tuples(INDEX, TEXTS, st.integers(0, 4), MORE), max_size=12)
RUN = st.lists(TEXTS, min_size=1, max_size=12)


def _slow(stream: bytes) -> list[str]:
    """The texts, each put together event by event."""
    found: dict[object, str] = {}
    for line in stream.split(b"\n"):
        if line.startswith(b"data:") and line.strip() != b"data: [DONE]":
            for whose, (box, key) in pieces_of(json.loads(line[5:])):
                found[whose] = found.get(whose, "") + box[key]
    return sorted(filter(None, found.values()))


def _stream(events: list[dict[str, Any]], loose: bool) -> bytes:
    lines = []
    for event in events:
        if "type" in event:
            lines.append(b"event: " + event["type"].encode())
        separators = (", ", ": ") if loose else (",", ":")
        lines.append(b"data: " + json.dumps(event, separators=separators).encode())
        lines.append(b"")
    return b"\n".join([*lines, b"data: [DONE]", b"", b""])


@given(EVENTS, st.sampled_from([_responses, _messages, _chat]), st.booleans())
def test_quickly_it_is_put_together_as_slowly(events: list, make: Any, loose: bool) -> None:
    stream = _stream([make(*event) for event in events], loose)
    found = said(stream)
    # Half a character is for the slow way.
    assert found is None or sorted(found) == _slow(stream)
    assert found is not None or "\\ud83d" in stream.decode()


@settings(max_examples=400)
@given(st.lists(st.tuples(INDEX, RUN, st.integers(0, 4)), max_size=5), EVENTS, st.booleans())
@pytest.mark.parametrize("make", [_responses, _messages, _chat])
def test_a_shortened_stream_says_the_same(make: Any, runs: list, odd: list, loose: bool) -> None:
    events = [make(index, text, kind, {}) for index, texts, kind in runs for text in texts]
    for number, event in enumerate(odd):
        events.insert(number * 3, make(*event))
    stream = _stream(events, loose)
    short = shortened(stream)
    assert len(short) <= len(stream)
    assert sorted(filter(None, said(short) or [])) == sorted(filter(None, said(stream) or []))
    assert (said(short) is None) == (said(stream) is None)


@pytest.mark.parametrize("make", [_responses, _messages, _chat])
def test_a_long_run_becomes_an_event_or_a_few(make: Any) -> None:
    events = [make(0, f"word{n} ", 0, {}) for n in range(300)]
    stream = _stream([make(1, "first", 1, {}), *events, make(1, "last", 1, {})], False)
    assert len(shortened(stream)) < len(stream) / 5
    assert "".join(f"word{n} " for n in range(300)) in (said(shortened(stream)) or ())


@pytest.mark.parametrize(
    "events",
    [
        # Its text is not the last that it says.
        [_responses(0, "a ", 1, {"obfuscation": "x7"}), *[_responses(0, "a ", 1, {})] * 9],
        # Its text is the name of something, too.
        [_responses(0, "i0", 0, {})] * 9,
        [_chat(0, "c", 0, {})] * 9,
    ],
)
def test_only_texts_are_joined(events: list[dict[str, Any]]) -> None:
    stream = _stream(events, False)
    assert said(shortened(stream)) == said(stream)


def test_a_call_named_as_a_field_is_a_text_of_its_own() -> None:
    events = [_chat(0, text, 0, {}) for text in ("sec", "ret")]
    call = _chat(0, "x", 2, {})
    call["choices"][0]["delta"]["tool_calls"][0]["index"] = "content"
    stream = _stream([events[0], call, events[1]], False)
    assert sorted(said(stream) or ()) == _slow(stream) == ["secret", "x"]


def test_an_event_of_another_text_between_them_stays_there() -> None:
    events = [_chat(0, "word ", 0, {}) for _ in range(9)]
    events[2:2] = [_chat(0, "sec", 0, {}), _chat(1, "x", 0, {}), _chat(0, "ret", 0, {})]
    assert any("secret" in text for text in said(shortened(_stream(events, False))) or ())


@pytest.mark.parametrize(
    "line",
    [b"data: {", b'data: {"delta": 5}', b'data: {"choices": [{"delta": {"content": ["x"]}}]}', b"data: \xff"],
)  # fmt: skip
def test_what_no_protocol_says_is_for_the_slow_way(line: bytes) -> None:
    assert said(_stream([_chat(0, "a", 0, {})], False) + line + b"\n\n") is None
