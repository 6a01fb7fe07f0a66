"""Random answers of upstreams: what a model says in the words of each protocol, recorded streams,
failures; then anything done to their JSON, their events and their bytes."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.fuzz.case import Answer, Edit, Story
from tests.fuzz.mutations import edits
from tests.fuzz.policy import NEW_NAME, RENAMED_TOOL, REPLACED
from tests.fuzz.requests import SECRETS

#: Stands for a mask that an upstream has been sent, by its number.
MASK = "@mask:{}@"
#: Stands for the key that an upstream was sent.
KEY = "@key@"
_TEXTS = [
    *(
        "hello",
        "I am done.",
        "",
        "\u2028 😀 \ud83d",
        "a\nb\r\nc",
        "M",
        "MASKED_",
        "MASKED_CUSTOMER_",
    ),
    *(f"it is {MASK.format(n)}." for n in range(3)),
    f"{MASK.format(0)}{MASK.format(1)}",
    *(f"and {secret}!" for secret in SECRETS[1:8:3]),
    REPLACED,
    '<tool_call>{"name": "exec_command", "arguments": {"cmd": "ls"}}</tool_call>',
    "<tool_call>{",
    f"the key {KEY} is wrong",
    "long " * 200,
]
_ARGUMENTS = [
    '{"cmd": "ls"}',
    f'{{"cmd": "echo {MASK.format(0)}"}}',
    "{}",
    "",
    '{"cmd": "a',
    '{"cmd": "CUST-400001"}',
    "[1]",
    '{"cmd": {"deep": [1, 2, {"x": null}]}}',
]
_CALLED = [RENAMED_TOOL, NEW_NAME, "look_up", "mcp__lab__look_up", "patch", "nobody", ""]
_SAID = st.one_of(
    st.tuples(st.just("text"), st.sampled_from(_TEXTS), st.just("")),
    st.tuples(st.just("thought"), st.sampled_from(_TEXTS), st.just("")),
    st.tuples(st.just("refusal"), st.sampled_from(_TEXTS), st.just("")),
    st.tuples(st.just("call"), st.sampled_from(_CALLED), st.sampled_from(_ARGUMENTS)),
)
_USAGE = st.none() | st.tuples(st.integers(0, 5000), st.integers(0, 500))
STORIES = st.builds(
    Story,
    said=st.lists(_SAID, max_size=4).map(tuple),
    piece=st.sampled_from([1, 3, 7, 40, 4000]),
    usage=_USAGE,
    finish=st.sampled_from(["stop", "stop", "length", "content_filter"]),
)
#: What is done to a stream besides what is done to the JSON of an event.
STREAM_KINDS = ("drop", "twice", "swap", "data", "bytes", "cut", "insert", "lines", "comment")
_STREAM_EDITS = st.lists(
    st.builds(Edit, st.sampled_from(STREAM_KINDS), st.integers(0, 400), st.integers(0, 60)),
    max_size=3,
).map(tuple)
_ERRORS = [
    b'{"error": {"message": "no such model", "type": "invalid_request_error", "code": "x"}}',
    b'{"error": {"message": "Incorrect API key provided: @key@."}}',
    b'{"type": "error", "error": {"type": "x", "message": "@key@ is not known"}}',
    b'{"error": "it is @mask:0@"}',
    b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded @mask:1@"}}',
    b'{"error": {"message": {"deep": ["x"]}, "code": 5, "metadata": {"raw": "CUST-400001"}}}',
    b'{"error": {"message": "prompt is too long: context_length_exceeded"}}',
    b"<html><title>502 Bad Gateway</title><h1>nginx</h1></html>",
    b"",
    b"null",
    b"\xff\xfe\x00",
    b'{"detail": [{"msg": "field required"}]}',
]
_STATUSES = (400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 529, 200, 204, 302, 301)
_FIELDS: list[tuple[bytes, bytes]] = [
    (b"retry-after", b"7"),
    (b"retry-after", b"soon"),
    (b"x-request-id", b"req_1"),
    (b"x-ratelimit-remaining-tokens", b"0"),
    (b"set-cookie", b"upstream=cookie-of-the-upstream"),
    (b"openai-model", b"other"),
    (b"x-echo", b"@key@"),
    (b"x-odd", b"\xff\x00"),
    (b"connection", b"keep-alive"),
    (b"content-length", b"5"),
    (b"transfer-encoding", b"chunked"),
]
_CUTS = st.lists(st.integers(1, 300), min_size=1, max_size=4).map(tuple)
_HEADS = st.lists(st.sampled_from(_FIELDS), max_size=2).map(tuple)
_KINDS = ("", "", "", "", "", "", "text/plain", "text/html", "application/json; charset=utf-8")
_ENDS = ("whole",) * 8 + ("broken", "left", "unreached")


def _good(odd: int) -> st.SearchStrategy[Answer]:
    """Answers to a turn, whole or streamed, with up to ``odd`` things done to them."""
    return st.builds(
        Answer,
        story=STORIES,
        recorded=st.none() | st.none() | st.integers(0, 40),
        edits=st.one_of(st.just(()), edits(odd), _STREAM_EDITS) if odd else st.just(()),
        whole=st.sampled_from([False] * 7 + [True]),
        status=st.sampled_from((200,) * 19 + (201,)),
        fields=_HEADS,
        kind=st.sampled_from(_KINDS) if odd else st.just(""),
        coding=st.sampled_from(["", "", "", "", "", "gzip", "zstd"]),
        end=st.sampled_from(_ENDS),
        share=st.floats(0, 1),
        cuts=_CUTS,
    )


_BAD = st.builds(
    Answer,
    raw=st.sampled_from(_ERRORS),
    status=st.sampled_from(_STATUSES),
    fields=_HEADS,
    kind=st.sampled_from(
        ["application/json", "application/json", "text/html", "text/event-stream"]
    ),
    coding=st.sampled_from(["", "", "", "gzip"]),
    end=st.sampled_from(_ENDS),
    cuts=_CUTS,
)
ANSWERS = st.one_of(_good(0), _good(2), _good(2), _BAD)
