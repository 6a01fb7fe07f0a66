"""Valid JSON of a shape nobody foresaw: read sensibly, or a readable failure; and heads of answers
that say what no head should."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.turn import Failure, Finish, Started, Usage
from shim.wire.errors import event_failure, http_failure, seconds
from tests.unit import streams
from tests.unit.fixtures import DONE, call, chunk

TEXT = chunk({"content": "hi"}, "stop") + DONE


def story(data: bytes, protocol: str = "chat") -> dict[str, Any]:
    return streams.story(streams.read(protocol, data))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"choices": {"index": 0, "delta": {"content": "a"}}}, "a"),
        ({"choices": [{"delta": "a"}]}, "a"),
        ({"choices": [{"delta": 5}]}, "5"),
        ({"choices": [{"delta": None}]}, ""),
        ({"choices": [{"text": "a"}]}, "a"),
        ({"choices": [{"index": "0", "delta": {"content": "a"}}]}, "a"),
        ({"choices": [{"index": 0.0, "delta": {"content": "a"}}]}, "a"),
        ({"choices": [{"index": -1, "delta": {"content": "a"}}]}, "a"),
        ({"choices": [{"index": {}, "delta": {"content": "a"}}]}, "a"),
        ({"choices": [{"index": 10**30, "delta": {"content": "a"}}]}, "a"),
        ({"choices": [{"delta": {"content": 5}}]}, "5"),
        ({"choices": [{"delta": {"content": 0.5}}]}, "0.5"),
        ({"choices": [{"delta": {"content": {"type": "text", "text": "a"}}}]}, "a"),
        ({"choices": [{"delta": {"content": ["a", {"text": "b"}, 7, None]}}]}, "ab"),
        ({"choices": [{"delta": {"content": [{"type": "text", "text": 5}]}}]}, "5"),
        ({"choices": [{"delta": {"content": "a", "tool_calls": None}}]}, "a"),
        ({"choices": [{"delta": {"content": "a", "tool_calls": [None, {}]}}]}, "a"),
        ({"choices": [{"delta": {"content": "a", "annotations": 5}}]}, "a"),
        ({"choices": [{"delta": {"content": "a", "reasoning_details": {"text": 5}}}]}, "a"),
        ({"choices": None}, ""),
        ({"choices": []}, ""),
        ({"id": 5, "created": "inf", "choices": []}, ""),
        ({"id": [], "created": [1], "choices": []}, ""),
        ({"choices": [], "usage": "lots"}, ""),
        ({"choices": [], "usage": {"prompt_tokens": "12", "prompt_tokens_details": "x"}}, ""),
        ({"type": ["x"], "choices": []}, ""),
    ],
)
def test_a_chunk_of_an_odd_shape_is_read(event: Any, text: str) -> None:
    result = story(streams.sse(event) + TEXT)
    assert result["text"] == f"{text}hi" and isinstance(result["end"], Finish)


@pytest.mark.parametrize(
    "event",
    [
        {"choices": "text"},
        {"choices": 5},
        {"choices": ["text"]},
        {"choices": [{"delta": ["text"]}]},
        {"choices": [{"delta": {"tool_calls": "run"}}]},
        {"choices": [{"delta": {"tool_calls": ["run"]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": "run"}]}}]},
    ],
)
def test_a_chunk_that_would_lose_something_fails_the_turn(event: Any) -> None:
    end = story(streams.sse(event) + TEXT)["end"]
    assert isinstance(end, Failure) and end.message.startswith(
        "up sent an event that cannot be read"
    )


@pytest.mark.parametrize("number", ["1e999", "-1e999", '"inf"', "NaN", "9" * 5000, "-5", "null"])
def test_numbers_that_are_none_count_nothing(number: str) -> None:
    usage = '{"prompt_tokens": @, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": @}}'
    text = '{"id": "c", "created": @, "choices": [], "usage": ' + usage + "}"
    events = streams.read("chat", b"data: " + text.replace("@", number).encode() + b"\n\n" + TEXT)
    assert events[0] == Started("c", 0)
    assert Usage(0, 0, 0, 4, 0) in events
    for protocol, event in (
        (
            "messages",
            '{"type": "message_start", "message": {"id": "c", "usage": {"input_tokens": @}}}',
        ),
        ("responses", '{"type": "response.created", "response": {"id": "c", "created_at": @}}'),
    ):
        data = b"data: " + event.replace("@", number).encode() + b"\n\n"
        assert streams.read(protocol, data)[0] == Started("c", 0)


@pytest.mark.parametrize(
    ("arguments", "right"),
    [(5, "5"), (["a"], '["a"]'), ({"a": 1}, '{"a":1}'), (True, "true"), (None, "")],
)
def test_arguments_that_are_no_text_are_its_json(arguments: Any, right: str) -> None:
    piece = {
        "tool_calls": [{"index": 0, "id": 7, "function": {"name": "run", "arguments": arguments}}]
    }
    for data in (chunk(piece) + DONE, json.dumps({"choices": [{"message": piece}]}).encode()):
        result = streams.story(streams.read("chat", data, whole=data[:1] == b"{"))
        assert result["calls"] == {0: ["run", right]}


DEEP = b"[" * 3000 + b"]" * 3000
NESTS = {
    "chat": b'{"choices": [{"delta": {"content": "a", "annotations": @}}]}',
    "messages": b'{"type": "content_block_start", "index": 0, "content_block": {"type": "x", "a": @}}',
    # Long enough for the decoder that leaves out what nobody reads.
    "responses": b'{"type": "response.in_progress", "response": {"output": [@], "tools": "%b"}}'
    % (b"x" * 1024),
}


@pytest.mark.parametrize("client", streams.PROTOCOLS)
@pytest.mark.parametrize("upstream", streams.PROTOCOLS)
@pytest.mark.parametrize("levels", [150, 250, 900, 3000])
def test_deep_nesting_is_read_or_fails_the_turn(client: str, upstream: str, levels: int) -> None:
    event = NESTS[upstream].replace(b"@", b"[" * levels + b"]" * levels)
    for way in streams.WAYS:
        translator = streams.translator(client, upstream, way=way)
        out = streams.through(translator, b"data: " + event + b"\n\n")
        assert streams.end(client, out) == "failed" and translator.failure
        deep = (
            "nested" in translator.failure.message or "cannot be read" in translator.failure.message
        )
        assert deep == (levels > 200)


@pytest.mark.parametrize("client", streams.PROTOCOLS)
@pytest.mark.parametrize("upstream", streams.PROTOCOLS)
def test_deep_nesting_in_arguments_and_whole_answers(client: str, upstream: str) -> None:
    arguments = '{"a": ' + DEEP.decode() + "}"
    whole: dict[str, Any] = {
        "chat": {"choices": [{"message": call("run", arguments, id="a")}]},
        "messages": {
            "type": "message",
            "content": [{"type": "tool_use", "name": "run", "input": arguments}],
        },
        "responses": {
            "object": "response",
            "output": [
                {"type": "function_call", "call_id": "a", "name": "run", "arguments": arguments}
            ],
        },
    }
    for body in (
        json.dumps(whole[upstream]).encode(),
        json.dumps(whole[upstream]).encode()[:-1] + b', "b": ' + DEEP + b"}",
    ):
        for way in ("plain", "masked", "repaired"):
            translation = streams.translation(
                client, upstream, b'"name": "run"', way=way, stream=False
            )
            answer = translation.answer(
                translation.translator(), 200, {"content-type": "application/json"}, body
            )
            if answer and answer.body is not None:
                json.loads(answer.body)


EVENTS: list[tuple[str, dict[str, Any]]] = [
    (
        "messages",
        {"type": "content_block_delta", "index": "0", "delta": {"type": "text_delta", "text": "a"}},
    ),
    ("messages", {"type": "content_block_delta", "index": [], "delta": "a"}),
    ("messages", {"type": "content_block_delta", "delta": {"type": "text_dolta", "text": "a"}}),
    ("messages", {"type": "content_block_dolta", "delta": {"type": "text_delta", "text": "a"}}),
    (
        "messages",
        {
            "type": "content_block_start",
            "content_block": {"type": "text", "text": "a", "citations": 5},
        },
    ),
    ("responses", {"type": "response.output_text.delta", "output_index": "0", "delta": "a"}),
    (
        "responses",
        {"type": "response.output_text.delta", "output_index": {}, "item_id": [], "delta": "a"},
    ),
    (
        "responses",
        {"type": "response.output_item.done", "item": {"type": "message", "content": "a"}},
    ),
    (
        "responses",
        {
            "type": "response.output_item.done",
            "item": {"type": "message", "content": {"text": "a"}},
        },
    ),
    (
        "responses",
        {"type": "response.output_item.done", "item": [{"type": "message", "content": ["a"]}]},
    ),
]


@pytest.mark.parametrize(("protocol", "event"), EVENTS)
def test_events_of_an_odd_shape_are_read(protocol: str, event: dict[str, Any]) -> None:
    assert story(streams.sse(event), protocol)["text"] == "a"


@pytest.mark.parametrize(
    ("protocol", "event"),
    [
        (
            "messages",
            {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "a"}},
        ),
        ("messages", {"type": "content_block_start", "content_block": "text"}),
        ("messages", {"type": "content_block_delta", "index": 0, "delta": {"partial_json": "{"}}),
        ("responses", {"type": "response.output_item.added", "item": "text"}),
        (
            "responses",
            {
                "type": "response.output_item.done",
                "item": {"type": "function_call", "call_id": "a"},
            },
        ),
        ("responses", {"type": "response.output_text.delta", "delta": ["a"]}),
        ("responses", {"type": "response.completed", "response": {"output": ["a"]}}),
    ],
)
def test_events_that_would_lose_something_fail_the_turn(
    protocol: str, event: dict[str, Any]
) -> None:
    end = story(streams.sse(event), protocol)["end"]
    assert isinstance(end, Failure) and "cannot be read" in end.message


@pytest.mark.parametrize(
    "text", ["inf", "-inf", "nan", "1e999", "9" * 400, "1e300", "infinity", "9" * 400 + "h"]
)
def test_a_wait_without_an_end_is_none(text: str) -> None:
    assert seconds(text) in (None, 0.0)
    failure = http_failure(429, {"retry-after": text, "retry-after-ms": text}, b"", "up")
    assert failure.delay in (None, 0.0)


@pytest.mark.parametrize(
    "date",
    [
        "Fri, 20 Nov 99999 10:00:30 GMT",
        "Fri, 20 Nov 9999 23:59:59 -9999",
        "Fri, 31 Feb 2026 10:00:30 GMT",
        "Fri, 20 Nov 2026",
        "Fri, ",
        "Fri, 20 Nov 2026 99:99:99 GMT",
        "Fri, 01 Jan 0001 00:00:00 +9999",
    ],
)
def test_a_date_that_is_none_names_no_wait(date: str) -> None:
    now = "Fri, 20 Nov 2026 10:00:00 GMT"
    for after, at in ((date, now), (now, date), (date, date)):
        delay = http_failure(503, {"retry-after": after, "date": at}, b"", "up").delay
        assert delay is None or 0 <= delay < 1e10


HEADS = st.dictionaries(
    st.sampled_from(
        [
            "content-type",
            "content-length",
            "content-encoding",
            "retry-after",
            "retry-after-ms",
            "date",
            "location",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset-tokens",
        ]
    ),
    st.sampled_from(
        [
            "",
            "0",
            "-1",
            "nan",
            "1e999",
            "text/event-stream",
            "APPLICATION/JSON; charset=x",
            "identity",
            "text/html",
            "gzip",
            ";;",
            "Fri, 20 Nov 99999 10:00:30 GMT",
            "http://x/\x00\n",
            "6m0s",
        ]
    )
    | st.text(st.characters(max_codepoint=255), max_size=20),
)
BODIES = st.sampled_from(
    [
        b"",
        b"{}",
        b"null",
        b'"words"',
        b"[]",
        b"<html><title>no</title>",
        TEXT,
        b"\xff\xfe",
        b'{"error": {"message": {"a": [1]}, "code": {"b": 2}, "type": ["c"], "status": 1e999}}',
        b'{"error": {"message": "bad \\ud83d", "code": "\\ude00", "metadata": {"raw": "{\\"a"}}}',
        b'{"error": {"details": [5, {"retryDelay": "infs"}, {"retryDelay": "1e999s"}]}}',
        b'{"detail": [5, null, {"msg": []}]}',
        DEEP,
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    pair=st.sampled_from(streams.PAIRS),
    way=st.sampled_from(streams.WAYS),
    stream=st.booleans(),
    status=st.sampled_from(
        [200, 201, 204, 205, 206, 300, 301, 304, 307, 400, 401, 418, 429, 500, 529, 599]
    ),
    headers=HEADS,
    body=BODIES,
)
def test_no_head_breaks_an_answer(
    pair: tuple[str, str], way: str, stream: bool, status: int, headers: dict[str, str], body: bytes
) -> None:
    translation = streams.translation(*pair, way=way, stream=stream)
    translator = translation.translator()
    if translation.streams(status, headers):
        assert status == 200
        out = streams.through(translator, body)
        if not translation.packed:
            assert streams.end(pair[0], out) == ("failed" if translator.failure else "whole")
        return
    answer = translation.answer(translator, status, headers, body)
    assert answer or (status == 200 and body == TEXT)
    if answer and status != 200:
        assert answer.failure and answer.failure.message.startswith("up")
        assert answer.failure.delay is None or math.isfinite(answer.failure.delay)
    if answer and answer.body is not None and answer.status != 200:
        assert isinstance(json.loads(answer.body), dict) and answer.status >= 400
        assert int(answer.headers.get("retry-after", "0")) >= 0


def test_an_error_event_may_hold_anything() -> None:
    for error in (None, 5, [], [[]], {"message": []}, {"code": [], "status": {}}, {"metadata": 5}):
        assert event_failure({"error": error, "message": {}}, "up").message.startswith("up: ")
