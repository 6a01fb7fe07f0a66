"""Answers that pass in their own protocol: byte for byte where they are in order, and as well known
as those that are translated: tokens, calls, how they ended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shim.turn import Failure, Usage
from shim.wire.masks import Unmask
from shim.wire.translate import Translation
from tests.unit import streams
from tests.unit.fixtures import DONE, USAGE, call, chunk
from tests.unit.test_unreadable import END, text_event

ALL = [(p, data) for p in streams.PROTOCOLS for data in streams.recorded(p)]
STREAM = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(("protocol", "data"), ALL)
@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_a_stream_passes_byte_for_byte(protocol: str, data: bytes, size: int) -> None:
    translator = streams.translator(protocol, protocol)
    sent = b"".join(translator.feed(data[n : n + size]) for n in range(0, len(data), size))
    whole = sent + translator.close()
    # Only what ends it may be added where it is missing.
    assert whole.startswith(data) and whole[len(data) :].strip() in (b"", b"data: [DONE]")
    known = streams.translator("messages" if protocol == "chat" else "chat", protocol, data)
    streams.through(known, data)
    assert translator.failure is None and translator.usage == known.usage
    assert translator.calls >= known.calls
    assert translator.response and known.response


@pytest.mark.parametrize("blank", ["", " "])
def test_usage_is_read_however_it_is_spaced(blank: str) -> None:
    last = json.dumps({"choices": [], "usage": USAGE}, separators=(",", ":" + blank)).encode()
    data = chunk({"content": "hi"}, "stop") + b"data: " + last + b"\n\n" + DONE
    translator = streams.translator("chat", "chat")
    assert streams.through(translator, data) == data
    assert translator.usage == Usage(10, 6, 0, 4, 3)


def test_the_whole_answer_is_known_as_the_client_got_it() -> None:
    data = chunk({"content": "hel"}) + chunk({"content": "lo"}) + chunk(call("run", "{}", id="a"))
    translator = streams.translator("chat", "chat")
    assert translator.feed(data) == data and translator.response is None
    translator.feed(chunk({}, "tool_calls", usage=USAGE) + DONE)
    answer = translator.response
    assert answer and answer["id"] == "c1"
    (choice,) = answer["choices"]
    assert choice["message"]["content"] == "hello" and choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "run", "arguments": "{}"}
    whole = {"id": "r", "object": "response", "status": "completed", "output": [], "tools": [1]}
    event = streams.sse({"type": "response.completed", "response": {**whole, "pad": "x" * 2000}})
    passed = streams.translator("responses", "responses")
    assert streams.through(passed, event) == event
    assert passed.response == {**whole, "pad": "x" * 2000}


def begun(protocol: str) -> bytes:
    """The beginning of an answer, of three events."""
    start: dict[str, Any] = {
        "chat": {"id": "c9", "choices": []},
        "messages": {
            "type": "message_start",
            "message": {"id": "m9", "usage": {"input_tokens": 7}},
        },
        "responses": {
            "type": "response.created",
            "response": {"id": "resp_9"},
            "sequence_number": 0,
        },
    }[protocol]
    pieces = [
        {**text_event(protocol, text), "sequence_number": n + 1} for n, text in enumerate("hi")
    ]
    return b"".join(map(streams.sse, [start, *pieces]))


@pytest.mark.parametrize("protocol", streams.PROTOCOLS)
@pytest.mark.parametrize("rest", [b"", b"data: {", b"dat", b"event: x\n", b"data: {}"])
def test_an_answer_without_its_end_has_failed(protocol: str, rest: bytes) -> None:
    translator = streams.translator(protocol, protocol)
    before = begun(protocol)
    assert translator.feed(before + rest) == before
    # Half an event is no event: what follows is one of its own.
    message = streams.events(translator.close())
    error = message[1] if rest == b"data: {}" else message[0]
    assert translator.failure and translator.failure.message == "up broke off in mid-answer"
    assert "up broke off in mid-answer" in json.dumps(error)
    if protocol == "responses":
        response = error["response"]
        assert (error["sequence_number"], response["id"]) == (3, "resp_9")
        assert response["error"]["code"] == "server_error"
    if protocol == "messages":
        assert translator.usage == Usage(7)


@pytest.mark.parametrize("protocol", streams.PROTOCOLS)
def test_nothing_follows_the_error(protocol: str) -> None:
    translator = streams.translator(protocol, protocol)
    out = translator.feed(
        begun(protocol) + b"data: oops\n\n" + streams.sse(text_event(protocol, "more"))
    )
    assert streams.end(protocol, out) == "failed" and b"more" not in out
    assert translator.feed(streams.sse(text_event(protocol, "more"))) == b"" == translator.close()
    assert translator.response is None


def test_an_error_of_the_upstreams_own_passes_alone() -> None:
    for event in (b'data: {"error": {"message": "full"}}\n\n', b'data: {"error":"full"}\r\n\r\n'):
        translator = streams.translator("chat", "chat")
        data = chunk({"content": "hi"}) + event + DONE
        assert streams.through(translator, data) == data
        assert translator.failure and translator.failure.message == "up: full"
    for last in (chunk({}, "error"), chunk(choices=[{"error": {"message": "full"}}])):
        translator = streams.translator("chat", "chat")
        out = streams.through(translator, chunk({"content": "hi"}) + last + DONE)
        assert streams.end("chat", out) == "failed" and translator.failure


@pytest.mark.parametrize("protocol", ["chat", "messages"])
def test_the_mark_of_an_end_is_added_where_it_is_missing(protocol: str) -> None:
    last = END[protocol][0]
    data = begun(protocol) + streams.sse(last)
    for rest in (b"", b"data: [DO", b'data: {"typ'):
        translator = streams.translator(protocol, protocol)
        out = streams.through(translator, data + rest)
        assert out.startswith(data) and streams.end(protocol, out) == "whole"
        assert translator.failure is None
    # A response has no end but its own.
    assert (
        streams.end(
            "responses",
            streams.through(streams.translator("responses", "responses"), begun("responses")),
        )
        == "failed"
    )


def test_what_cannot_go_on_ends_in_the_clients_protocol() -> None:
    for protocol in streams.PROTOCOLS:
        for codex in ("plain", "codex"):
            translator = streams.translator(protocol, protocol, way=codex)
            out = translator.feed(begun(protocol) + b"data: {")
            out += translator.abort(Failure("interpose: oops"))
            assert streams.end(protocol, out) == "failed" and b"interpose: oops" in out
            assert translator.feed(DONE) == b"" and translator.failure


def test_what_was_held_of_a_mask_leaves_before_the_error() -> None:
    turn = streams.codec("chat").read_request(streams.request("chat", []))
    route = streams.Route("up", "chat", "m", "m", "t")
    unmask = Unmask({"MASKED_A_000000000001": "s"})
    translator = Translation(turn, route, codex=False, unmask=unmask).translator()
    out = streams.through(translator, chunk({"content": "a MASK"}) + b"data: oops\n\n")
    first, second, error = streams.events(out)
    texts = [event["choices"][0]["delta"]["content"] for event in (first, second)]
    assert texts == ["a ", "MASK"] and error["error"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": 5}}', None),
        (b"<html><title>Sign in</title></html>", "Sign in"),
        (b'{"error": {"message": "no credit"}}', "no credit"),
        (b'{"choices": 5}', "no model answer"),
        (b"[" * 3000 + b"]" * 3000, "no model answer"),
        (b"", "an empty answer"),
    ],
)
def test_a_whole_answer_passes_and_is_known(body: bytes, message: str | None) -> None:
    translation = streams.translation("chat", "chat", stream=False)
    translator = translation.translator()
    assert not translation.streams(200, JSON)
    answer = translation.answer(translator, 200, JSON, body)
    if message is None:
        assert answer is None and translator.usage == Usage(5)
        return
    assert answer and answer.failure and message in answer.failure.message
    if message == "no credit":
        # The provider's own words pass as they are.
        assert answer.body is None
    else:
        assert answer.status == 502 and answer.body
        assert message in json.loads(answer.body)["error"]["message"]


def test_a_whole_answer_that_is_not_quite_json_passes_as_json() -> None:
    body = b'\xef\xbb\xbf{"choices": [{"message": {"content": "a\tb\\ud83d"}, "odds": NaN}]}\x00'
    translation = streams.translation("chat", "chat", stream=False)
    answer = translation.answer(translation.translator(), 200, JSON, body)
    assert answer and answer.failure is None
    choice = {"message": {"content": "a\tb�"}, "odds": None}
    assert json.loads(answer.body or b"") == {"choices": [choice]}


def test_a_failed_response_that_passes_is_known_as_one() -> None:
    body = {
        "object": "response",
        "status": "failed",
        "error": {"message": "no room"},
        "usage": None,
    }
    translation = streams.translation("responses", "responses", stream=False)
    answer = translation.answer(translation.translator(), 200, JSON, json.dumps(body).encode())
    assert answer and answer.body is None
    assert answer.failure and "no room" in answer.failure.message


@pytest.mark.parametrize("protocol", streams.PROTOCOLS)
@pytest.mark.parametrize("nothing", [b"null", b'""', b"[null]"])
def test_an_event_that_is_no_object_does_not_pass(protocol: str, nothing: bytes) -> None:
    before = begun(protocol)
    for data in (before + b"data: " + nothing + b"\n\n", before + b"data:" + nothing + b"\n\n"):
        assert streams.translator(protocol, protocol).feed(data) == before


@pytest.mark.parametrize("kind", ["text/html", "application/json", "TEXT/Event-Stream; x=y", ""])
@pytest.mark.parametrize("protocol", streams.PROTOCOLS)
def test_a_stream_with_the_head_of_something_else_gets_its_own(protocol: str, kind: str) -> None:
    data = begun(protocol) + b"".join(map(streams.sse, END[protocol]))
    made = streams.translation(protocol, protocol)
    if protocol == "chat":
        data += DONE
    answer = made.answer(made.translator(), 200, {"content-type": kind} if kind else {}, data)
    if kind.startswith("TEXT"):
        assert answer is None
    else:
        assert answer and answer.headers == STREAM and (answer.body or b"").startswith(data)


@pytest.mark.parametrize("pad", ["", "x" * 2000])
@pytest.mark.parametrize("kind", [1e300, None, "", ["x"], "absent"])
@pytest.mark.parametrize(
    ("protocol", "name"), [("responses", "response.completed"), ("messages", "ping")]
)
def test_an_event_without_a_type_gets_the_one_of_its_name(
    protocol: str, name: str, kind: Any, pad: str
) -> None:
    given: dict[str, Any] = {"type": kind, "response": {"id": "r", "pad": pad, "output": []}}
    if kind == "absent":
        del given["type"]
    data = b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps(given).encode())
    passed = streams.translator(protocol, protocol).feed(begun(protocol) + data)
    (event,) = streams.events(passed.removeprefix(begun(protocol)))
    assert event == {**given, "type": name}


@pytest.mark.parametrize("protocol", ["responses", "messages"])
def test_an_event_is_called_what_its_type_says(protocol: str) -> None:
    value = text_event(protocol, "hi")
    data = b"event: odd\ndata: %b\n\n" % json.dumps(value).encode()
    passed = streams.translator(protocol, protocol).feed(begun(protocol) + data)
    rest = passed.removeprefix(begun(protocol))
    assert rest.startswith(b"event: %b\n" % value["type"].encode())
    assert streams.events(rest) == [value]
