"""What scripted upstreams say: good chat and Responses streams, recorded ones, and failures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.upstreams import Answer, Script, Seen

# Recorded provider streams live beside the checkout, outside the repository.
FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures"

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}


def sse(events: Iterable[Any], done: bool = True) -> list[bytes]:
    """One chunk per event (an object, or a ready JSON text)."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return [f"data: {text}\n\n".encode() for text in texts + ["[DONE]"] * done]


def json_answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {**JSON, **(headers or {})}, [json.dumps(body).encode()])


def error(
    status: int,
    message: str,
    type: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """An error in the shape of OpenAI's API, which most providers copy."""
    return json_answer(
        status, {"error": {"message": message, "type": type, "param": None, "code": code}}, headers
    )


def chat_chunk(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": dict(delta), "finish_reason": finish}],
        **more,
    }


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def chat_text(text: str) -> Answer:
    """A streamed chat answer: the text word by word, then usage."""
    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1][:-1]
    chunks = [chat_chunk({"role": "assistant", "content": ""})]
    chunks += [chat_chunk({"content": word}) for word in words]
    chunks += [chat_chunk({}, "stop"), {**chat_chunk({}), "choices": [], "usage": USAGE}]
    return Answer(200, SSE, sse(chunks))


def chat_tool(name: str, arguments: Any, call_id: str = "call_1") -> Answer:
    """A streamed chat answer that calls one tool; its arguments come in two pieces."""
    text = json.dumps(arguments)
    half = len(text) // 2
    head = {"index": 0, "id": call_id, "type": "function"}
    calls = [
        {**head, "function": {"name": name, "arguments": ""}},
        {"index": 0, "function": {"arguments": text[:half]}},
        {"index": 0, "function": {"arguments": text[half:]}},
    ]
    chunks = [chat_chunk({"role": "assistant", "content": None})]
    chunks += [chat_chunk({"tool_calls": [call]}) for call in calls]
    chunks += [chat_chunk({}, "tool_calls"), {**chat_chunk({}), "choices": [], "usage": USAGE}]
    return Answer(200, SSE, sse(chunks))


def responses_text(text: str, response_id: str = "resp_1") -> Answer:
    """A streamed Responses answer with one message."""
    item = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }
    return responses_items([item], response_id)


def responses_items(items: Iterable[Mapping[str, Any]], response_id: str = "resp_1") -> Answer:
    usage = {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 10,
    }
    response = {"id": response_id, "object": "response", "status": "in_progress", "output": []}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": response}]
    output = [dict(item) for item in items]
    for index, item in enumerate(output):
        place = {"output_index": index, "item": item}
        events.append({"type": "response.output_item.added", **place})
        events.append({"type": "response.output_item.done", **place})
    final = {**response, "status": "completed", "output": output, "usage": usage}
    events.append({"type": "response.completed", "response": final})
    return Answer(200, SSE, sse(events, done=False))


def recorded(name: str) -> Answer:
    """The stream kept in the fixtures' file `name`, as the provider sent it."""
    raw = (FIXTURES / name).read_bytes()
    if name.endswith(".chunks.txt"):
        return Answer(200, SSE, sse(raw.decode().splitlines()))
    return Answer(200, SSE, [piece + b"\n\n" for piece in raw.split(b"\n\n") if piece.strip()])


def by_outputs(steps: Sequence[Answer]) -> Script:
    """Chat script: step n answers the request with n tool outputs, the last one all later ones.

    It keeps no state, so a repeated request gets the same answer.
    """

    def script(seen: Seen) -> Answer:
        if seen.method != "POST":
            return error(404, "no such page")
        outputs = [m for m in seen.json()["messages"] if m["role"] == "tool"]
        return steps[min(len(outputs), len(steps) - 1)]

    return script
