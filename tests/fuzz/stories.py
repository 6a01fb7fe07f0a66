"""What a model says, in the words of each protocol: whole, and as the events of a stream."""

from __future__ import annotations

import json
from typing import Any

from tests.fuzz.case import Story

Event = dict[str, Any]


def whole(protocol: str, story: Story) -> Event:
    """An answer that came as one object."""
    return _WHOLE[protocol](story)


def events(protocol: str, story: Story) -> list[Event | str]:
    """The events of a stream, in their order; a text is one that is no JSON."""
    return _EVENTS[protocol](story)


def _pieces(story: Story, text: str) -> list[str]:
    return [text[at : at + story.piece] for at in range(0, len(text), story.piece)]


def _calls(story: Story) -> list[tuple[str, str]]:
    return [(text, more) for kind, text, more in story.said if kind == "call"]


def _object(arguments: str) -> Any:
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


# ---- Chat Completions ----


def _chat_head(kind: str) -> Event:
    return {"id": "chatcmpl-1", "object": kind, "created": 5, "model": "vendor/chat"}


def _chat_usage(story: Story) -> Event | None:
    if story.usage is None:
        return None
    put, out = story.usage
    more = {"prompt_tokens_details": {"cached_tokens": put // 2}}
    return {"prompt_tokens": put, "completion_tokens": out, "total_tokens": put + out, **more}


def _chat_finish(story: Story) -> str:
    return "tool_calls" if _calls(story) and story.finish == "stop" else story.finish


_CHAT_FIELDS = {"text": "content", "thought": "reasoning_content", "refusal": "refusal"}


def _chat_whole(story: Story) -> Event:
    message: Event = {"role": "assistant", "content": None}
    for kind, text, _ in story.said:
        if field := _CHAT_FIELDS.get(kind):
            message[field] = (message.get(field) or "") + text
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": given}}
        for n, (name, given) in enumerate(_calls(story))
    ]
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": _chat_finish(story)}
    return {**_chat_head("chat.completion"), "choices": [choice], "usage": _chat_usage(story)}


def _chat_events(story: Story) -> list[Event | str]:
    head = _chat_head("chat.completion.chunk")

    def chunk(delta: Event, finish: str | None = None) -> Event:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    made: list[Event | str] = [chunk({"role": "assistant", "content": ""})]
    count = 0
    for kind, text, more in story.said:
        if field := _CHAT_FIELDS.get(kind):
            made += [chunk({field: piece}) for piece in _pieces(story, text)]
            continue
        at = {"index": count}
        first = {**at, "id": f"call_{count}", "type": "function"}
        made.append(chunk({"tool_calls": [{**first, "function": {"name": text, "arguments": ""}}]}))
        for piece in _pieces(story, more):
            made.append(chunk({"tool_calls": [{**at, "function": {"arguments": piece}}]}))
        count += 1
    made.append(chunk({}, _chat_finish(story)))
    if usage := _chat_usage(story):
        made.append({**head, "choices": [], "usage": usage})
    return [*made, "[DONE]"]


# ---- Responses ----


def _responses_items(story: Story) -> list[Event]:
    items: list[Event] = []
    for n, (kind, text, more) in enumerate(story.said):
        if kind == "call":
            call = {"type": "function_call", "id": f"fc_{n}", "call_id": f"call_{n}"}
            items.append({**call, "name": text, "arguments": more, "status": "completed"})
        elif kind == "thought":
            summary = [{"type": "summary_text", "text": text}]
            items.append({"type": "reasoning", "id": f"rs_{n}", "summary": summary})
        else:
            part: Event = {"type": "output_text", "text": text, "annotations": []}
            if kind == "refusal":
                part = {"type": "refusal", "refusal": text}
            message = {"type": "message", "id": f"msg_{n}", "role": "assistant"}
            items.append({**message, "status": "completed", "content": [part]})
    return items


def _responses_head(story: Story, items: list[Event]) -> Event:
    head = {"id": "resp_1", "object": "response", "created_at": 5, "model": "gpt", "error": None}
    cut = story.finish != "stop"
    reason = {"length": "max_output_tokens"}.get(story.finish, story.finish)
    usage = None
    if story.usage is not None:
        put, out = story.usage
        usage = {"input_tokens": put, "output_tokens": out, "total_tokens": put + out}
        usage["input_tokens_details"] = {"cached_tokens": put // 2}  # type: ignore[assignment]
    return {
        **head,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": reason} if cut else None,
        "output": items,
        "usage": usage,
    }


def _responses_whole(story: Story) -> Event:
    return _responses_head(story, _responses_items(story))


def _responses_events(story: Story) -> list[Event | str]:
    items = _responses_items(story)
    final = _responses_head(story, items)
    begun = {**final, "status": "in_progress", "output": [], "usage": None}
    made: list[Event] = []

    def add(kind: str, **more: Any) -> None:
        made.append({"type": kind, "sequence_number": len(made), **more})

    add("response.created", response=begun)
    add("response.in_progress", response=begun)
    for index, item in enumerate(items):
        empty = {**item, "status": "in_progress"}
        empty |= {"arguments": ""} if "arguments" in item else {}
        empty |= {"content": []} if "content" in item else {}
        empty |= {"summary": []} if "summary" in item else {}
        add("response.output_item.added", output_index=index, item=empty)
        at: Event = {"item_id": item["id"], "output_index": index}
        if item["type"] == "function_call":
            for piece in _pieces(story, item["arguments"]):
                add("response.function_call_arguments.delta", **at, delta=piece)
            add("response.function_call_arguments.done", **at, arguments=item["arguments"])
        elif item["type"] == "reasoning":
            for piece in _pieces(story, item["summary"][0]["text"]):
                add("response.reasoning_summary_text.delta", **at, summary_index=0, delta=piece)
        else:
            part = item["content"][0]
            field = "refusal" if part["type"] == "refusal" else "text"
            kind = "response.refusal" if field == "refusal" else "response.output_text"
            at["content_index"] = 0
            add("response.content_part.added", **at, part={**part, field: ""})
            for piece in _pieces(story, part[field]):
                add(f"{kind}.delta", **at, delta=piece)
            add(f"{kind}.done", **at, **{field: part[field]})
            add("response.content_part.done", **at, part=part)
        add("response.output_item.done", output_index=index, item=item)
    add(f"response.{final['status']}", response=final)
    return [*made]


# ---- Messages ----


def _messages_blocks(story: Story) -> list[Event]:
    blocks: list[Event] = []
    for n, (kind, text, more) in enumerate(story.said):
        if kind == "call":
            use = {"type": "tool_use", "id": f"toolu_{n}", "name": text}
            blocks.append({**use, "input": _object(more)})
        elif kind == "thought":
            blocks.append({"type": "thinking", "thinking": text, "signature": f"c2ln{n}"})
        else:
            blocks.append({"type": "text", "text": text})
    return blocks


def _messages_usage(story: Story) -> tuple[Event, Event]:
    """Of the beginning and of the end."""
    if story.usage is None:
        return {}, {}
    put, out = story.usage
    begin = {"input_tokens": put - put // 2, "cache_read_input_tokens": put // 2}
    return {**begin, "output_tokens": 1}, {"output_tokens": out}


def _messages_stop(story: Story) -> str:
    if story.finish == "stop":
        return "tool_use" if _calls(story) else "end_turn"
    return {"length": "max_tokens"}.get(story.finish, "refusal")


def _messages_head(story: Story) -> Event:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude"}
    return {**head, "content": [], "stop_reason": None, "usage": _messages_usage(story)[0]}


def _messages_whole(story: Story) -> Event:
    usage = {**_messages_usage(story)[0], **_messages_usage(story)[1]}
    more = {"content": _messages_blocks(story), "stop_reason": _messages_stop(story)}
    return {**_messages_head(story), **more, "usage": usage}


def _messages_events(story: Story) -> list[Event | str]:
    made: list[Event | str] = [{"type": "message_start", "message": _messages_head(story)}]
    made.append({"type": "ping"})
    blocks = _messages_blocks(story)
    texts = [more if kind == "call" else text for kind, text, more in story.said]
    for index, (block, text) in enumerate(zip(blocks, texts, strict=True)):
        at = {"index": index}
        said = [k for k in ("text", "thinking", "signature") if k in block]
        empty: Event = {**block, **dict.fromkeys(said, "")}
        empty |= {"input": {}} if "input" in block else {}
        made.append({"type": "content_block_start", **at, "content_block": empty})
        kind, field = {
            "text": ("text_delta", "text"),
            "thinking": ("thinking_delta", "thinking"),
        }.get(block["type"], ("input_json_delta", "partial_json"))
        for piece in _pieces(story, text):
            delta = {"type": kind, field: piece}
            made.append({"type": "content_block_delta", **at, "delta": delta})
        if "signature" in block:
            delta = {"type": "signature_delta", "signature": block["signature"]}
            made.append({"type": "content_block_delta", **at, "delta": delta})
        made.append({"type": "content_block_stop", **at})
    end = {"stop_reason": _messages_stop(story), "stop_sequence": None}
    made.append({"type": "message_delta", "delta": end, "usage": _messages_usage(story)[1]})
    return [*made, {"type": "message_stop"}]


_WHOLE = {"chat": _chat_whole, "responses": _responses_whole, "messages": _messages_whole}
_EVENTS = {"chat": _chat_events, "responses": _responses_events, "messages": _messages_events}
