"""Whether an answer is one that its client's protocol knows: an error in its shape, an object of
its kind, or a stream of its events that comes to its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.fuzz.evidence import Got, json_of

_DONE = "[DONE]"
_FAILED = {"response.failed", "error", "response.incomplete"}


def wrong_with(protocol: str, got: Got, *, counts: bool = False, passes: bool = False) -> str:
    """What is wrong with an answer to a turn; empty where nothing is. In one that ``passes``, which
    items and blocks begin and end is the provider's word."""
    kind = got.header("content-type").partition(";")[0].strip().lower()
    if not 200 <= got.status < 600:
        return f"the status {got.status}"
    if got.status == 307:
        return "" if got.header("location").startswith("/") else "a 307 to nowhere"
    if (kind == "text/event-stream" or got.streamed) and got.status == 200:
        return _stream(protocol, got.body, passes)
    value = json_of(got.body)
    if not isinstance(value, dict):
        return f"{got.status} {kind!r} with no JSON object: {got.body[:80]!r}"
    if got.status >= 400:
        return _error(protocol, value)
    if counts:
        return "" if isinstance(value.get("input_tokens"), int) else "no input_tokens"
    return _whole(protocol, value)


def _error(protocol: str, value: dict[str, Any]) -> str:
    error = value.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return f"an error without a message: {value!r:.200}"
    if protocol == "messages" and (
        value.get("type") != "error" or not isinstance(error.get("type"), str)
    ):
        return f"no error of Messages: {value!r:.200}"
    return ""


def _whole(protocol: str, value: dict[str, Any]) -> str:
    if protocol == "chat":
        choices = value.get("choices")
        fits = isinstance(choices, list) and all(
            isinstance(c, dict) and isinstance(c.get("message"), dict) for c in choices
        )
    elif protocol == "messages":
        fits = value.get("type") == "message" and isinstance(value.get("content"), list)
    else:
        kinds = ("response", "response.compaction")
        fits = value.get("object") in kinds and isinstance(value.get("output"), list)
    return "" if fits else f"no answer of {protocol}: {value!r:.200}"


def stream_events(body: bytes) -> Iterator[tuple[str, str]]:
    """(name, data) of each event, as a browser reads them."""
    name, data = "", list[str]()
    text = body.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    for line in text.removeprefix("\ufeff").split("\n"):
        if line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line:
            if data:
                yield name, "\n".join(data)
            name, data = "", []
    if data:
        yield name, "\n".join(data)


def _stream(protocol: str, body: bytes, passes: bool) -> str:
    if body and not body.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")):
        return f"its last event has no blank line behind it: {body[-60:]!r}"
    events: list[Any] = []
    for name, data in stream_events(body):
        if data == _DONE:
            events.append(_DONE)
            continue
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return f"an event that is no JSON: {data[:80]!r}"
        if not isinstance(value, dict):
            return f"an event that is no object: {data[:80]!r}"
        if name and value.get("type") not in (name, None):
            return f"an event called {name} of the type {value.get('type')!r}"
        events.append(value)
    if not events:
        return "a stream without an event"
    if wrong := _ENDS[protocol](events):
        return wrong
    return "" if passes else _PARTS[protocol]([event for event in events if event != _DONE])


def _responses_end(events: list[Any]) -> str:
    kinds = [event.get("type") for event in events if event != _DONE]
    ends = [kind for kind in kinds if kind == "response.completed" or kind in _FAILED]
    if not kinds or kinds[-1] not in (*_FAILED, "response.completed"):
        return f"a stream that ends with {kinds[-1] if kinds else 'nothing'!r}"
    if len(ends) != 1:
        return f"a stream with the ends {ends}"
    return ""


def _responses_parts(events: list[Any]) -> str:
    open_items: dict[Any, Any] = {}
    for event in events:
        if event.get("type") == "response.output_item.added":
            open_items[event.get("output_index")] = event
        elif event.get("type") == "response.output_item.done":
            open_items.pop(event.get("output_index"), None)
    if open_items and events[-1].get("type") == "response.completed":
        return f"items that are never done: {list(open_items)}"
    return ""


def _chat_end(events: list[Any]) -> str:
    if events[-1] == _DONE:
        return "" if events.count(_DONE) == 1 else "two ends"
    return "" if isinstance(events[-1].get("error"), dict) else f"no [DONE]: {events[-1]!r:.200}"


def _messages_end(events: list[Any]) -> str:
    kinds = [event.get("type") if event != _DONE else _DONE for event in events]
    ends = [kind for kind in kinds if kind in ("message_stop", "error")]
    if kinds[-1] not in ("message_stop", "error"):
        return f"a stream that ends with {kinds[-1]!r}"
    if len(ends) != 1:
        return f"a stream with the ends {ends}"
    return ""


def _messages_parts(events: list[Any]) -> str:
    kinds = [event.get("type") for event in events]
    if kinds[-1] == "message_stop":
        if kinds[0] != "message_start" or kinds.count("message_start") != 1:
            return f"a stream that begins with {kinds[0]!r}"
        begun = [e.get("index") for e in events if e.get("type") == "content_block_start"]
        done = [e.get("index") for e in events if e.get("type") == "content_block_stop"]
        if begun != done:
            return f"blocks {begun} begin and {done} end"
    return ""


_ENDS = {"responses": _responses_end, "chat": _chat_end, "messages": _messages_end}
_PARTS = {
    "responses": _responses_parts,
    "chat": lambda events: "",
    "messages": _messages_parts,
}
