"""Recorded messages as text: items, tools, timelines, in every protocol; and their differences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.flowfile import read
from shim.record import show, summary
from shim.record.differ import differences
from shim.record.pieces import Piece, answer_pieces, request_pieces

FLOWS = sorted((Path(__file__).resolve().parents[2] / "flows").glob("*.flow"))
NAMES = st.sampled_from(
    """type role content text input output tools name function arguments choices delta message error
    item part response status usage tool_calls index id summary call_id parameters""".split()  # noqa: SIM905
)
TOOL = {
    "name": "look",
    "description": "Looks.",
    "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}},
}
MESSAGES = {
    "model": "m",
    "max_tokens": 9,
    "system": "Be brief.",
    "tools": [TOOL],
    "messages": [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "x"}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "seen"}],
        },
    ],
}


def words(pieces: list[Piece]) -> list[tuple[str, str]]:
    """What was said and called; tools go by other names upstream."""
    kinds = ("message", "call", "reasoning")
    return [(p.kind, p.text) for p in pieces if p.kind in kinds]


def sse(*events: dict[str, object]) -> bytes:
    return b"".join(
        f"event: {e.get('type', '')}\ndata: {json.dumps(e)}\n\n".encode() for e in events
    )


STREAM = sse(
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "usage": {"input_tokens": 5},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hel"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
)


@pytest.mark.parametrize("path", FLOWS, ids=lambda p: p.stem)
def test_every_recorded_message_can_be_read(path: Path) -> None:
    for r in read(path):
        asked = request_pieces(r.request.body, r.request.path)
        assert {"setting", "message"} <= {p.kind for p in asked}
        assert r.upstream_request and r.response and r.upstream_response
        sent = request_pieces(r.upstream_request.body, r.upstream_request.path)
        assert [p.text for p in sent if p.kind == "call"] == [
            p.text for p in asked if p.kind == "call"
        ]
        said = answer_pieces(r.response.body, r.request.path)
        raw = answer_pieces(r.upstream_response.body, r.upstream_request.path)
        assert not [p for p in said + raw if p.kind == "body"]
        if r.response.status == 200 and not r.row["error"]:
            assert words(said) == words(raw)
        else:
            assert [p.kind for p in said] == ["error"]
        assert show.timeline(r.response.body, r.row)
        assert r.row["model"] in show.exchange(r.row)


def test_a_patch_is_shown_as_a_patch() -> None:
    turns = list(read(next(p for p in FLOWS if p.stem == "apply-patch")))
    assert turns[1].response
    told = show.turn(turns[1].response.body, "/v1/responses", turns[1].row, answer=True)
    assert "2. call apply_patch · call_b ───" in told
    assert "  -Helo world\n  +Hello world\n" in told
    assert told.startswith("upstream leg · test-model → upstream/vendor/model · 200 · ")
    asked = show.turn(turns[2].request.body, "/v1/responses", turns[2].row, answer=False)
    assert "9 tools: exec_command, " in asked and "output · call_b" in asked
    assert "(path) View a local image" in show.tools(turns[2].request.body, "/v1/responses")


def test_messages() -> None:
    body = json.dumps(MESSAGES).encode()
    assert [(p.kind, p.label, p.text) for p in request_pieces(body, "/v1/messages")] == [
        ("setting", "model", '"m"'),
        ("setting", "max_tokens", "9"),
        ("tool", "look", "(at) Looks."),
        ("message", "system", "Be brief."),
        ("message", "user", "hi"),
        ("call", "look", "at: x"),
        ("output", "", "seen"),
    ]
    assert [(p.kind, p.text) for p in answer_pieces(STREAM, "/v1/messages")] == [
        ("message", "hello"),
        ("usage", "in 5, out 2"),
        ("end", "stop"),
    ]
    lines = show.timeline(STREAM, {}).splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["1", "message_start"],
        ["2", "content_block_start"],
        ["3", "content_block_delta"],
        ["5", "content_block_stop"],
        ["6", "message_delta"],
        ["7", "message_stop"],
    ]
    assert "×2" in lines[2] and '5 characters "hello"' in lines[2]


def test_what_cannot_be_read_is_shown_as_it_is() -> None:
    for body in (b"\xff\x00", b"{", b"[]", b"null", b'{"model": 3}', b""):
        assert [p.kind for p in request_pieces(body, "/v1/responses")] == ["body"]
        assert [p.kind for p in answer_pieces(body, "/v1/responses")] in (["body"], [])
        assert show.turn(body, "/x", {}, answer=False) and show.turn(body, "/x", {}, answer=True)
        assert show.timeline(body, {}) == "no events: the answer was not streamed\n"
    assert [p.kind for p in answer_pieces(b'{"error": {"message": "no"}}', "/v1/messages")] == [
        "error"
    ]
    assert show.exchange({}) == "this flow is no exchange of the chain\n"
    assert "✗" not in show.timeline(b"data: 3\n\ndata: {\n\n: c\n\n", {})


def test_differences_are_told_item_by_item() -> None:
    a = [
        Piece("message", "user", "x" * 60 + "one"),
        Piece("call", "look", "at: x", "c1"),
        Piece("end", "", "stop"),
    ]
    assert differences(a, a) == []
    b = [Piece("message", "user", "x" * 60 + "two"), Piece("call", "look", "at: x", "c2")]
    told = differences(a, b)
    assert told[0] == "item 1, message user: differs at character 60"
    assert (
        told[1].endswith("one")
        and told[2].endswith("two")
        and told[1].lstrip().startswith("recorded: …x")
    )
    assert told[3] == "item 2, call look c1: its id is c2 today, c1 recorded"
    assert told[4] == "item 3, end: only recorded: stop"
    assert differences([], [Piece("end", "", "")], "then", "now") == [
        "item 1, end: only now: (nothing)"
    ]
    assert differences(a[1:], b[1:], start=1)[0].startswith("item 2, call look c1: its id")


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"error": "no", "calls": 1}, summary.FAILED),
        ({"decisions": ["repair: a call in text"]}, summary.REPAIRED),
        ({"account": {"saved": 5}}, summary.SAVED),
        ({"decisions": ["failover: x"]}, summary.MOVED),
        ({"calls": 2}, summary.CALLED),
        ({}, ""),
    ],
)
def test_marks(row: dict[str, object], name: str) -> None:
    from mitmproxy.utils.emoji import emoji

    assert summary.mark(row) == name and (not name or summary.SIGNS[name] == emoji[name])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["/v1/responses", "/v1/chat/completions", "/v1/messages", "/x"]))
@settings(max_examples=300, deadline=None)
def test_nothing_that_a_body_may_hold_breaks_a_view(value: object, path: str) -> None:
    bodies = [
        json.dumps(v).encode() for v in (value, {"model": "m", "messages": value, "input": value})
    ]
    bodies += [b"data: %b\n\ndata: [DONE]\n\n" % body for body in bodies]
    for body in bodies:
        assert show.turn(body, path, {}, answer=False)
        assert show.turn(body, path, {}, answer=True)
        assert show.tools(body, path)
        assert show.timeline(body, {})
