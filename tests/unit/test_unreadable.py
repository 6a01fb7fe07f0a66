"""What cannot be read in a stream is mended where its meaning is plain, else the turn fails and says
so; a call that lacks a piece is never finished."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from shim.turn import CallDelta, CallStart, Event, Failure, Finish, Text
from shim.wire import decoder, sse
from shim.wire.sse import SSEDecoder
from tests.unit import streams
from tests.unit.fixtures import DONE, call, chunk

BLOCK = {"type": "content_block_delta", "index": 0}


def text_event(protocol: str, text: str) -> Any:
    """An event that says a piece of text."""
    if protocol == "chat":
        return {"id": "c", "choices": [{"index": 0, "delta": {"content": text}}]}
    if protocol == "messages":
        return {**BLOCK, "delta": {"type": "text_delta", "text": text}}
    return {"type": "response.output_text.delta", "output_index": 0, "delta": text}


def arguments_event(protocol: str, text: str) -> Any:
    """An event that says a piece of the arguments of a call."""
    if protocol == "chat":
        return {"choices": [{"index": 0, "delta": call(None, text, index=0)}]}
    if protocol == "messages":
        return {**BLOCK, "delta": {"type": "input_json_delta", "partial_json": text}}
    kind = "response.function_call_arguments.delta"
    return {"type": kind, "output_index": 0, "item_id": "fc_1", "delta": text}


ITEM = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "run"}
TOOL = {"type": "tool_use", "id": "c1", "name": "run", "input": {}}
#: Per protocol the events before a text or a call, and those that end the answer.
BEGIN: dict[str, dict[str, list[Any]]] = {
    "chat": {
        "text": [],
        "call": [{"choices": [{"index": 0, "delta": call("run", "", index=0, id="c1")}]}],
    },
    "messages": {
        "text": [{"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}],
        "call": [{"type": "content_block_start", "index": 0, "content_block": TOOL}],
    },
    "responses": {
        "text": [],
        "call": [{"type": "response.output_item.added", "output_index": 0, "item": ITEM}],
    },
}
END: dict[str, list[Any]] = {
    "chat": [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}],
    "messages": [
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ],
    "responses": [{"type": "response.completed", "response": {"id": "r", "status": "completed"}}],
}


def stream(protocol: str, kind: str, *middle: bytes) -> bytes:
    """A stream of ``protocol`` with ``middle`` between the beginning and the end of a text or call."""
    before = b"".join(map(streams.sse, BEGIN[protocol][kind]))
    behind = b"".join(map(streams.sse, END[protocol]))
    return before + b"".join(middle) + behind + (DONE if protocol == "chat" else b"")


def events_of(protocol: str, data: bytes) -> list[Event]:
    """What is read of ``data``, which is the same in pieces of one byte."""
    events = streams.read(protocol, data)
    apart = streams.codec(protocol).decoder(lambda: "seed", "up", set)
    pieces = [event for n in range(len(data)) for event in apart.feed(data[n : n + 1])]
    assert [*pieces, *apart.close()] == events
    return events


@pytest.mark.parametrize("protocol", streams.PROTOCOLS)
@pytest.mark.parametrize("client", streams.PROTOCOLS)
@pytest.mark.parametrize(
    "halves",
    [
        (b"Done \\ud83c", b"\\udf89 all."),
        (b"Done \xf0\x9f", b"\x8e\x89 all."),
        (b"Done \xf0\x9f\x8e", b"\x89 all."),
        (b"Done \\ud83c", b"", b"\\udf89", b" all."),
        (b"Done ", b"\\ud83c\\udf89 all."),
    ],
)
def test_a_character_cut_in_two_is_one(
    client: str, protocol: str, halves: tuple[bytes, ...]
) -> None:
    pieces = [streams.sse(text_event(protocol, "@")).replace(b"@", half) for half in halves]
    data = stream(protocol, "text", *pieces)
    out = streams.through(streams.translator(client, protocol), data)
    assert streams.end(client, out) == "whole" and b"\\ufffd" not in out
    assert streams.story(events_of(client, out))["text"] == "Done 🎉 all."


@pytest.mark.parametrize("protocol", streams.PROTOCOLS)
@pytest.mark.parametrize("client", streams.PROTOCOLS)
def test_a_character_cut_in_two_in_arguments_is_one(client: str, protocol: str) -> None:
    for halves in ((b"\\ud83c", b"\\udf89"), (b"\xf0\x9f", b"\x8e\x89")):
        pieces = [arguments_event(protocol, '{"say":"@'), arguments_event(protocol, '@"}')]
        events = [
            streams.sse(p).replace(b"@", half) for p, half in zip(pieces, halves, strict=True)
        ]
        data = stream(protocol, "call", *events)
        out = streams.through(streams.translator(client, protocol, b'"name": "run"'), data)
        (arguments,) = streams.finished_calls(client, out) or [""]
        if client == protocol == "responses":
            # The upstream finishes no item here, so none is finished.
            ((_, arguments),) = streams.story(streams.read(client, out))["calls"].values()
        assert json.loads(arguments) == {"say": "🎉"}


@pytest.mark.parametrize("protocol", streams.PROTOCOLS)
def test_half_a_character_alone_is_none(protocol: str) -> None:
    half = streams.sse(text_event(protocol, "a@")).replace(b"@", b"\\ud83c")
    more = streams.sse(text_event(protocol, "b"))
    story = streams.story(events_of(protocol, stream(protocol, "text", half, more)))
    assert story["text"] == "a�b" and isinstance(story["end"], Finish)
    assert streams.story(events_of(protocol, stream(protocol, "text", half)))["text"] == "a"


@pytest.mark.parametrize("protocol", streams.PROTOCOLS)
@pytest.mark.parametrize("pieces", [("a@",), ("a@", "b"), ("a@b",)])
@pytest.mark.parametrize("half", [b"\\ud83c", b"\\udf89", b"\xc3", b"\xff"])
def test_half_a_character_in_arguments_fails_the_turn(
    protocol: str, pieces: tuple[str, ...], half: bytes
) -> None:
    events = [streams.sse(arguments_event(protocol, piece)).replace(b"@", half) for piece in pieces]
    end = streams.story(events_of(protocol, stream(protocol, "call", *events)))["end"]
    assert isinstance(end, Failure) and end.retry


@pytest.mark.parametrize("upstream", streams.PROTOCOLS)
@pytest.mark.parametrize("client", streams.PROTOCOLS)
def test_a_hole_in_arguments_is_no_call(client: str, upstream: str) -> None:
    data = stream(
        upstream,
        "call",
        streams.sse(arguments_event(upstream, '{"cmd":"rm -rf ./build')),
        streams.sse(arguments_event(upstream, "/old-artefacts")).replace(b'cts"', b"c"),
        streams.sse(arguments_event(upstream, '"}')),
    )
    translator = streams.translator(client, upstream, b'"name": "run"')
    out = streams.through(translator, data)
    assert streams.end(client, out) == "failed" and streams.finished_calls(client, out) == []
    assert translator.failure and translator.failure.message.startswith(
        "up sent an event that cannot be read: {"
    )
    assert 60 < len(translator.failure.message) < 160 and translator.failure.retry
    assert b"rm -rf" in out


@pytest.mark.parametrize("name", [b"", b"event: error\n"])
@pytest.mark.parametrize("protocol", streams.PROTOCOLS)
def test_words_in_the_place_of_an_event_are_told(protocol: str, name: bytes) -> None:
    words = name + b"data: upstream connect error, reset reason: overflow\n\n"
    end = streams.story(events_of(protocol, stream(protocol, "text", words)))["end"]
    assert isinstance(end, Failure) and "reset reason: overflow" in end.message


@pytest.mark.parametrize("protocol", streams.PROTOCOLS)
@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
@pytest.mark.parametrize("indent", [None, 1])
def test_an_error_object_without_a_frame_is_told(
    protocol: str, end: bytes, indent: int | None
) -> None:
    error = {"error": {"message": "the engine is on fire", "code": 500}}
    data = streams.sse(text_event(protocol, "hi")) + json.dumps(error, indent=indent).encode() + end
    end_of = streams.story(events_of(protocol, data))["end"]
    assert isinstance(end_of, Failure)
    assert end_of.message == "up: the engine is on fire (HTTP 500)"


@pytest.mark.parametrize("value", [b'"ping"', b"5", b"true", b'["ping"]', b"NaN", b"{}" * 2000])
@pytest.mark.parametrize("protocol", streams.PROTOCOLS)
def test_a_value_that_is_no_event_fails_the_turn(protocol: str, value: bytes) -> None:
    data = stream(protocol, "text", b"data: " + value + b"\n\n")
    end = streams.story(events_of(protocol, data))["end"]
    assert isinstance(end, Failure) and "cannot be read" in end.message


@pytest.mark.parametrize("nothing", [b"", b"null", b'""', b"[]", b"{}", b"\x00"])
@pytest.mark.parametrize("protocol", streams.PROTOCOLS)
def test_an_event_that_says_nothing_is_none(protocol: str, nothing: bytes) -> None:
    data = stream(
        protocol, "text", b"data: " + nothing + b"\n\n", streams.sse(text_event(protocol, "hi"))
    )
    story = streams.story(events_of(protocol, data))
    assert story["text"] == "hi" and isinstance(story["end"], Finish)


def calls(events: list[Event]) -> list[tuple[str, str]]:
    names = {e.key: e.name for e in events if isinstance(e, CallStart)}
    texts = dict.fromkeys(names, "")
    for event in events:
        if isinstance(event, CallDelta):
            texts[event.key] += event.arguments
    return [(name, texts[key]) for key, name in names.items()]


def test_parallel_calls_in_pieces_of_one_index_are_apart() -> None:
    data = (
        chunk(call("run", '{"cmd', index=0, id="a"))
        + chunk(call(None, '": "ls"}', index=0))
        + chunk(call("run", '{"cmd', index=0, id="b"))
        + chunk(call(None, '": "pwd"}', index=0))
        + chunk(call(None, " ", index=0, id="a"))
        + chunk({}, "tool_calls")
    )
    events = events_of("chat", data + DONE)
    assert calls(events) == [("run", '{"cmd": "ls"} '), ("run", '{"cmd": "pwd"}')]


@pytest.mark.parametrize("index", ["0", 0.0, None, -1, 10**30, [0]])
def test_a_call_is_one_whatever_numbers_it(index: Any) -> None:
    data = (
        chunk(call("run", '{"a"', index=index, id="a"))
        + chunk(call(None, ":1}", index=index))
        + chunk({}, "stop")
    )
    assert calls(events_of("chat", data)) == [("run", '{"a":1}')]


def test_the_name_of_a_call_may_come_late_but_must_come() -> None:
    late = chunk(call(None, '{"a"', index=0, id="a")) + chunk(call("run", ":1}", index=0))
    assert calls(events_of("chat", late + DONE)) == [("run", '{"a":1}')]
    never = chunk(call(None, '{"a":1}', index=0, id="a")) + chunk({}, "tool_calls") + DONE
    end = events_of("chat", never)[-1]
    assert isinstance(end, Failure) and "without its name" in end.message


MESSAGE = {"type": "message", "role": "assistant"}


def message(id: str | None, text: str) -> dict[str, Any]:
    item = {**MESSAGE, "content": [{"type": "output_text", "text": text}]}
    return {**item, "id": id} if id else item


@pytest.mark.parametrize("at", [{}, {"output_index": 0}])
@pytest.mark.parametrize("whole", [False, True])
def test_items_are_told_apart_without_their_index(at: dict[str, int], whole: bool) -> None:
    text = {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Let me look."}
    piece = {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": "{}"}
    done = {**ITEM, "arguments": "{}"}
    items = [message("msg_1", "Let me look."), done, message("msg_2", "And now?")]
    sent_events = [
        {"type": "response.output_item.added", "item": {**MESSAGE, "id": "msg_1"}},
        text,
        {"type": "response.output_item.done", "item": items[0]},
        {"type": "response.output_item.added", "item": ITEM},
        piece,
        {"type": "response.output_item.done", "item": done},
        {"type": "response.output_item.done", "item": items[2]},
    ]
    output = {"output": items} if whole else {}
    last = {"type": "response.completed", "response": {"status": "completed", **output}}
    data = b"".join(streams.sse({**e, **at}) for e in sent_events) + streams.sse(last)
    events = events_of("responses", data)
    assert "".join(e.text for e in events if isinstance(e, Text)) == "Let me look.And now?"
    assert calls(events) == [("run", "{}")]


def test_an_item_may_have_another_id_in_each_event() -> None:
    sent_events = [
        {"type": "response.output_item.added", "item": {**MESSAGE, "id": "a"}},
        {"type": "response.output_text.delta", "item_id": "b", "delta": "hi"},
        {"type": "response.output_item.done", "item": message("c", "hi")},
    ]
    last = {"type": "response.completed", "response": {"output": [message("d", "hi")]}}
    data = b"".join(streams.sse({**e, "output_index": 0}) for e in sent_events) + streams.sse(last)
    assert "".join(e.text for e in events_of("responses", data) if isinstance(e, Text)) == "hi"


@pytest.mark.parametrize(
    ("sent_events", "whole", "right"),
    [
        ('{"cmd":"rm -rf ./build"}', '{"cmd":"rm -rf ./build/old"}', None),
        ('{"cmd":', '{"cmd":"ls"}', '{"cmd":"ls"}'),
        ('{"cmd": "ls"}', '{"cmd":"ls"}', '{"cmd": "ls"}'),
        ('{"cmd":"ls"}', "", '{"cmd":"ls"}'),
        ('{"cmd":', None, None),
        ("", None, None),
    ],
)
def test_pieces_that_do_not_make_a_calls_arguments_are_no_call(
    sent_events: str, whole: str | None, right: str | None
) -> None:
    middle = [streams.sse(arguments_event("responses", sent_events))] if sent_events else []
    if whole is not None:
        item = {**ITEM, "arguments": whole}
        done = {"type": "response.output_item.done", "output_index": 0, "item": item}
        middle.append(streams.sse(done))
    events = events_of("responses", stream("responses", "call", *middle))
    if right is None:
        assert isinstance(events[-1], Failure)
    else:
        assert isinstance(events[-1], Finish) and calls(events) == [("run", right)]


def test_a_failed_response_has_the_words_beside_it() -> None:
    failed = {"type": "response.failed", "response": {"id": "r", "status": "failed", "error": None}}
    for event in ({**failed, "error": {"message": "no room"}}, failed):
        end = events_of("responses", streams.sse(event))[-1]
        assert isinstance(end, Failure) and ("no room" in end.message or "failed" in end.message)


@pytest.mark.parametrize("protocol", streams.PROTOCOLS)
@pytest.mark.parametrize("client", streams.PROTOCOLS)
@pytest.mark.parametrize("frame", [b"data: %b\n\n", b": %b\n\n", b"%b", b"data: %b\ndata: \n"])
def test_an_event_without_an_end_fails_the_turn(client: str, protocol: str, frame: bytes) -> None:
    translator = streams.translator(client, protocol)
    begun = translator.feed(
        stream(protocol, "text")[: -len(b"".join(map(streams.sse, END[protocol])))]
    )
    long = frame % (b'"' + b"x" * (16 * 1024 * 1024) + b'"')
    out = b"".join(translator.feed(long[n : n + 65536]) for n in range(0, len(long), 65536))
    assert len(out) < 2000 and translator.feed(long[:1000]) == b""
    assert streams.end(client, begun + out + translator.close()) == "failed"
    assert translator.failure and translator.failure.message == "up sent an event of over 16 MB"
    assert not translator.failure.retry


def test_the_bound_is_one_of_the_event_not_of_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MOST", 100)
    monkeypatch.setattr(decoder, "MOST", 100)
    for size in range(90, 110):
        text = "x" * (size - len(json.dumps(text_event("chat", ""))) - 6)
        data = streams.sse(text_event("chat", "a")) + streams.sse(text_event("chat", text)) + DONE
        events = events_of("chat", data)
        for end in (b"\r\n", b"\r"):
            assert events_of("chat", data.replace(b"\n", end)) == events
        assert isinstance(events[-1], Failure) == (size > 100), size


def test_a_long_line_in_small_pieces_is_not_copied_for_each() -> None:
    lines = SSEDecoder()
    piece = b"x" * 1000
    lines.feed(b"data: ")
    for _ in range(10_000):
        assert lines.feed(piece) == []
    ((_, data),) = lines.feed(b"\n\n")
    assert len(data) == 10_000_000


#: What is no error of its protocol's own in the middle of an answer.
DAMAGE = b"data: {\n\n"


def test_the_clients_own_library_raises_its_error() -> None:
    def sent(protocol: str, module: Any) -> Any:
        data = stream(protocol, "text", streams.sse(text_event(protocol, "hi")), DAMAGE)
        if protocol == "messages":
            start = {"type": "message_start", "message": {"id": "m", "role": "assistant"}}
            data = streams.sse(start, "message_start") + data
        out = streams.through(streams.translator(protocol, protocol), data)
        head = {"content-type": "text/event-stream"}
        return module.MockTransport(lambda request: module.Response(200, headers=head, content=out))

    chat = openai.OpenAI(
        api_key="k", base_url="http://t", http_client=httpx2.Client(transport=sent("chat", httpx2))
    )
    with pytest.raises(openai.APIError, match="up sent an event that cannot be read"):
        list(chat.chat.completions.create(model="m", messages=[], stream=True))
    responses = openai.OpenAI(
        api_key="k",
        base_url="http://t",
        http_client=httpx2.Client(transport=sent("responses", httpx2)),
    )
    last: Any = [*responses.responses.create(model="m", input="hi", stream=True)][-1]
    assert last.type == "response.failed" and "cannot be read" in last.response.error.message
    module: Any = httpx2 if httpx2.Client in anthropic.DefaultHttpxClient.__mro__ else httpx
    claude = anthropic.Anthropic(
        api_key="k",
        base_url="http://t",
        http_client=module.Client(transport=sent("messages", module)),
    )
    with pytest.raises(anthropic.APIStatusError, match="up sent an event that cannot be read"):
        list(claude.messages.create(model="m", max_tokens=9, messages=[], stream=True))
