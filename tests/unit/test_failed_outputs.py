"""A tool output that is marked as an error says so to upstreams that have no mark for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shim.tools.bridge import Bridge
from shim.wire.protocols import Target, codec

PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aQ=="}}
TEXT = {"type": "text", "text": 'no "such" file'}

CASES = [
    ('no "such" file', '[error] no "such" file'),
    ([TEXT], '[error] no "such" file'),
    ([TEXT, PICTURE], '[error] no "such" file'),
    ("", "[error] "),
]


def sent(content: Any, failed: bool, says_first: str, upstream: str) -> list[Any]:
    call = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"file": "x"}}
    said = [{"type": "text", "text": says_first}] if says_first else []
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [*said, call]},
        {"role": "user", "content": [{**result, "is_error": failed}]},
    ]
    tool = {"name": "Read", "input_schema": {"type": "object"}}
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": messages, "tools": [tool]})
    turn = codec("messages").read_request(body.encode())
    raw = codec(upstream).write_request(turn, Bridge(turn.tools), Target("m", "p"), [])
    made = json.loads(raw)
    return list(made["messages" if upstream == "chat" else "input"])


# With a text before it, the call is written another way than alone.
@pytest.mark.parametrize("says_first", ["", "I look."])
@pytest.mark.parametrize(("content", "text"), CASES)
def test_chat(content: Any, text: str, says_first: str) -> None:
    (output,) = (m for m in sent(content, True, says_first, "chat") if m["role"] == "tool")
    assert output["content"] == text


@pytest.mark.parametrize(("content", "text"), CASES)
def test_responses(content: Any, text: str) -> None:
    (output,) = (i for i in sent(content, True, "", "responses") if "output" in i)
    parts = output["output"]
    said = parts if isinstance(parts, str) else " ".join(p.get("text", "") for p in parts).strip()
    assert said == text


@pytest.mark.parametrize("says_first", ["", "I look."])
def test_one_that_is_none_has_no_mark(says_first: str) -> None:
    (output,) = (m for m in sent("fine", False, says_first, "chat") if m["role"] == "tool")
    assert output["content"] == "fine"
