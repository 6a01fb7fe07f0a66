"""Provider streams for tests: our own, one per quirk, and the recorded ones where they are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "fixtures"
INDEX = RECORDED / "INDEX.md"


def recorded(pattern: str) -> list[Path]:
    """The recorded streams whose name fits ``pattern``; none where the folder is absent."""
    found = [p for end in (".sse", ".chunks.txt") for p in RECORDED.glob(pattern + end)]
    return sorted(found)


def indexed(api: str) -> int:
    """How many streams of ``api`` the index of the recordings names."""
    rows = [line.split("|") for line in INDEX.read_text().splitlines() if line.startswith("|")]
    return sum(len(r) > 3 and r[3].strip() == api for r in rows)


def body(path: Path) -> bytes:
    """The stream as it came over the wire."""
    data = path.read_bytes()
    if path.name.endswith(".chunks.txt"):
        data = b"".join(b"data: " + line + b"\n\n" for line in data.splitlines())
    return data


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **top: Any) -> bytes:
    """One Chat Completions chunk as an SSE event."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    data = {"id": "c1", "object": "chat.completion.chunk", "created": 5, "choices": [choice], **top}
    return b"data: " + json.dumps(data).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 4,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 6},
    "completion_tokens_details": {"reasoning_tokens": 3},
}


def call(name: str | None, arguments: str | None, **more: Any) -> dict[str, Any]:
    """A delta with one piece of a tool call."""
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    return {"tool_calls": [{"function": function, **more}]}


#: One stream per quirk, each with what a client must get: (stream, text, calls).
QUIRKS: dict[str, tuple[bytes, str, list[tuple[str, str]]]] = {
    "plain": (chunk({"content": "he"}) + chunk({"content": "llo"}, "stop") + DONE, "hello", []),
    "no [DONE]": (chunk({"content": "hello"}) + chunk({}, "stop"), "hello", []),
    "no finish_reason": (chunk({"content": "hello"}) + DONE, "hello", []),
    "CRLF": ((chunk({"content": "hello"}, "stop") + DONE).replace(b"\n", b"\r\n"), "hello", []),
    "data before event": (
        chunk({"content": "hello"}, "stop").replace(b"\n\n", b"\nevent: message\n\n"),
        "hello",
        [],
    ),
    "no blank line at the end": (chunk({"content": "hello"}, "stop")[:-1], "hello", []),
    "byte order mark": (b"\xef\xbb\xbf" + chunk({"content": "hello"}, "stop"), "hello", []),
    "comments": (
        b": PROCESSING\n\n"
        + chunk({"content": "hel"})
        + b": PROCESSING\n\n"
        + chunk({"content": "lo"}, "stop")
        + DONE,
        "hello",
        [],
    ),
    "empty choices": (
        chunk(choices=[])
        + chunk({"content": "hello"}, "stop")
        + chunk(choices=[], usage=USAGE)
        + DONE,
        "hello",
        [],
    ),
    "usage on every chunk": (
        chunk({"content": "hel"}, usage=USAGE)
        + chunk({"content": "lo"}, "stop", usage=USAGE)
        + DONE,
        "hello",
        [],
    ),
    "content list": (
        chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]})
        + chunk({"content": [{"type": "text", "text": "hello"}]})
        + chunk({"content": ""}, "stop"),
        "hello",
        [],
    ),
    "empty id": (chunk({"content": "hello"}, "stop", id="", created=0) + DONE, "hello", []),
    "split arguments": (
        chunk(call("run", "", index=0, id="a"))
        + chunk(call(None, '{"x"', index=0))
        + chunk(call(None, ": 1}", index=0))
        + chunk({}, "tool_calls")
        + DONE,
        "",
        [("run", '{"x": 1}')],
    ),
    "no index": (chunk(call("run", '{"x": 1}', id="a"), "tool_calls"), "", [("run", '{"x": 1}')]),
    "no index, parallel": (
        chunk(call("run", '{"x": 1}', id="a"))
        + chunk(call("run", '{"x": 2}', id="b"), "tool_calls"),
        "",
        [("run", '{"x": 1}'), ("run", '{"x": 2}')],
    ),
    "index 0 for all": (
        chunk(call("run", '{"x": 1}', index=0, id="a"))
        + chunk(call("run", '{"x": 2}', index=0, id="b"), "tool_calls"),
        "",
        [("run", '{"x": 1}'), ("run", '{"x": 2}')],
    ),
    "repeated id": (
        chunk(call("run", "", index=0, id="0")) + chunk(call("run", "{}", index=0, id="0")) + DONE,
        "",
        [("run", "{}")],
    ),
    "empty call id": (chunk(call("run", "{}", index=0, id=""), "tool_calls"), "", [("run", "{}")]),
    "empty arguments": (chunk(call("run", "", index=0, id="a"), "tool_calls"), "", [("run", "{}")]),
    "arguments as object": (
        chunk(
            {
                "tool_calls": [
                    {"index": 0, "id": "a", "function": {"name": "run", "arguments": {"x": 1}}}
                ]
            },
            "tool_calls",
        ),
        "",
        [("run", '{"x":1}')],
    ),
    "interleaved calls": (
        chunk(call("run", "", index=0, id="a"))
        + chunk(call("see", "", index=1, id="b"))
        + chunk(call(None, '{"x": 1}', index=0))
        + chunk(call(None, "{}", index=1))
        + chunk({}, "tool_calls")
        + DONE,
        "",
        [("run", '{"x": 1}'), ("see", "{}")],
    ),
    "calls but finish stop": (
        chunk(call("run", "{}", index=0, id="a")) + chunk({}, "stop") + DONE,
        "",
        [("run", "{}")],
    ),
    "length": (chunk({"content": "hel"}) + chunk({"content": "lo"}, "length") + DONE, "hello", []),
    "refusal": (chunk({"refusal": "hel"}) + chunk({"refusal": "lo"}, "stop") + DONE, "hello", []),
    "second choice": (
        chunk(choices=[{"index": 1, "delta": {"content": "no"}}])
        + chunk({"content": "hello"}, "stop")
        + DONE,
        "hello",
        [],
    ),
}
