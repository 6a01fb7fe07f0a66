"""What scripted upstreams say: good answers of the three protocols, recorded ones, and failures."""

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


Calls = Sequence[tuple[str, str, Any]]


def chat_turn(
    text: str, calls: Calls, thinking: Sequence[Any], stream: bool, answer_id: str = "1"
) -> Answer:
    """A chat answer: text and tool calls (id, name, arguments). `thinking` are fields of the
    message, say {"reasoning_content": …}. Streamed, each piece of arguments comes alone."""
    said: dict[str, Any] = {"role": "assistant", "content": text or None}
    for fields in thinking:
        said |= fields
    heads = [{"id": id, "type": "function", "function": {"name": name}} for id, name, _ in calls]
    texts = [json.dumps(arguments) for *_, arguments in calls]
    finish = "tool_calls" if calls else "stop"
    answer = {"id": f"chatcmpl-{answer_id}", "created": 1, "model": "m"}
    if not stream:
        whole = [
            {**head, "function": {**head["function"], "arguments": arguments}}
            for head, arguments in zip(heads, texts, strict=True)
        ]
        message = {**said, **({"tool_calls": whole} if whole else {})}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        answer["object"] = "chat.completion"
        return json_answer(200, {**answer, "choices": [choice], "usage": USAGE})
    first = {"role": "assistant", "content": ""}
    chunks = [chat_chunk(first)]
    chunks += [chat_chunk(fields) for fields in thinking]
    chunks += [chat_chunk({"content": piece}) for piece in _pieces(text)]
    for index, (head, arguments) in enumerate(zip(heads, texts, strict=True)):
        chunks.append(chat_chunk({"tool_calls": [{"index": index, **head}]}))
        for piece in _pieces(arguments):
            call = {"index": index, "function": {"arguments": piece}}
            chunks.append(chat_chunk({"tool_calls": [call]}))
    chunks += [chat_chunk({}, finish), {**chat_chunk({}), "choices": [], "usage": USAGE}]
    return Answer(200, SSE, sse({**chunk, **answer} for chunk in chunks))


def responses_turn(
    text: str, calls: Calls, thinking: Sequence[Any], stream: bool, answer_id: str = "1"
) -> Answer:
    """A Responses answer in the API's own order of events: `thinking` items (whole), a message,
    function calls (id, name, arguments)."""
    items: list[dict[str, Any]] = [dict(item) for item in thinking]
    if text:
        part = {"type": "output_text", "text": text, "annotations": []}
        message = {"type": "message", "id": f"msg_{answer_id}", "role": "assistant"}
        items.append({**message, "content": [part], "status": "completed"})
    for call_id, name, arguments in calls:
        call = {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": name}
        items.append({**call, "arguments": json.dumps(arguments), "status": "completed"})
    response = {"id": f"resp_{answer_id}", "object": "response", "created_at": 1, "model": "m"}
    response |= {"error": None, "incomplete_details": None, "output": [], "tools": []}
    if stream:
        return _responses_stream(response, items)
    done = {"status": "completed", "output": items, "usage": RESPONSES_USAGE}
    return json_answer(200, {**response, **done})


RESPONSES_USAGE = {
    "input_tokens": 7,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 10,
}


def _responses_stream(response: Mapping[str, Any], items: Sequence[dict[str, Any]]) -> Answer:
    events: list[dict[str, Any]] = []

    def add(type: str, **more: Any) -> None:
        events.append({"type": type, "sequence_number": len(events), **more})

    add("response.created", response={**response, "status": "in_progress"})
    for index, item in enumerate(items):
        at = {"output_index": index, "item_id": item["id"]}
        emptied = {"content": []} if item["type"] == "message" else {}
        if item["type"] == "function_call":
            emptied = {"arguments": ""}
        running = {**item, **emptied, "status": "in_progress"}
        add("response.output_item.added", output_index=index, item=running)
        if item["type"] == "message":
            part = item["content"][0]
            at["content_index"] = 0
            add("response.content_part.added", **at, part={**part, "text": ""})
            for piece in _pieces(part["text"]):
                add("response.output_text.delta", **at, delta=piece, logprobs=[])
            add("response.output_text.done", **at, text=part["text"], logprobs=[])
            add("response.content_part.done", **at, part=part)
        elif item["type"] == "function_call":
            for piece in _pieces(item["arguments"]):
                add("response.function_call_arguments.delta", **at, delta=piece)
            add("response.function_call_arguments.done", **at, arguments=item["arguments"])
        add("response.output_item.done", output_index=index, item=item)
    final = {**response, "status": "completed", "output": list(items), "usage": RESPONSES_USAGE}
    add("response.completed", response=final)
    return Answer(200, SSE, _named(events))


def messages_turn(
    text: str, calls: Calls, thinking: Sequence[Any], stream: bool, answer_id: str = "1"
) -> Answer:
    """A Messages answer: `thinking` blocks (whole), a text, tool uses (id, name, input)."""
    blocks: list[dict[str, Any]] = [dict(block) for block in thinking]
    if text:
        blocks.append({"type": "text", "text": text})
    blocks += [{"type": "tool_use", "id": id, "name": n, "input": args} for id, n, args in calls]
    stop = "tool_use" if calls else "end_turn"
    return messages_blocks(blocks, stop, stream, answer_id)


def messages_blocks(
    blocks: Sequence[Any], stop: str = "end_turn", stream: bool = True, answer_id: str = "1"
) -> Answer:
    """A Messages answer of these content blocks; streamed with a ping, as the API does it."""
    usage = {"input_tokens": 7, "output_tokens": 3}
    usage |= {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    message = {"id": f"msg_{answer_id}", "type": "message", "role": "assistant", "model": "m"}
    message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    if not stream:
        return json_answer(200, {**message, "content": list(blocks), "stop_reason": stop})
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    events.append({"type": "ping"})
    for index, block in enumerate(blocks):
        empty, deltas = _block_stream(block)
        start = {"type": "content_block_start", "index": index, "content_block": empty}
        events.append(start)
        for delta in deltas:
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": stop, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 3}})
    events.append({"type": "message_stop"})
    return Answer(200, SSE, _named(events))


def _block_stream(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The empty block that opens a content block's stream, and its deltas."""
    kind = block["type"]
    if kind == "text":
        deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"])]
        return {"type": "text", "text": ""}, deltas
    if kind == "thinking":
        pieces = _pieces(block["thinking"])
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {"type": "thinking", "thinking": "", "signature": ""}, deltas
    if kind == "tool_use":
        pieces = _pieces(json.dumps(block["input"]))
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        return {**block, "input": {}}, deltas
    return dict(block), []


def _named(events: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Server-sent events that carry their type as a name, too."""
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]


def _pieces(text: str) -> list[str]:
    """A text in two pieces, or none."""
    half = (len(text) + 1) // 2
    return [piece for piece in (text[:half], text[half:]) if piece]
