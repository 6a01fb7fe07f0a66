"""Streams for tests: recorded ones, ways to damage them, and what a client makes of an answer by
the rules of its protocol alone."""

from __future__ import annotations

import functools
import itertools
import json
import re
from pathlib import Path
from typing import Any

from shim.repair.dialects import DIALECTS
from shim.repair.stream import Rules
from shim.route.choose import Route
from shim.turn import CallDelta, CallStart, Event, Failure, Finish, Reasoning, Refusal, Text
from shim.wire.masks import Unmask
from shim.wire.protocols import codec
from shim.wire.translate import Translation, Translator

FOLDER = Path(__file__).parents[1] / "fixtures" / "streams"
PROTOCOLS = ("responses", "chat", "messages")
PAIRS = [(client, upstream) for client in PROTOCOLS for upstream in PROTOCOLS]
SCHEMA = {"type": "object", "properties": {}}


@functools.cache
def recorded(protocol: str) -> tuple[bytes, ...]:
    """The recorded streams of a protocol; those of Messages are their servers' own."""
    names = {"chat": "*-chat__*", "responses": "*-responses__*", "messages": "anthropic__*"}
    paths = {*FOLDER.glob(f"{names[protocol]}.sse"), *FOLDER.glob(f"*-{protocol}__*.sse")}
    return tuple(path.read_bytes() for path in sorted(paths))


def request(protocol: str, names: list[str], *, stream: bool = True) -> bytes:
    """A request in the words of ``protocol`` that offers tools of these ``names``."""
    messages = [{"role": "user", "content": "hi"}]
    tools: list[dict[str, Any]]
    if protocol == "responses":
        tools = [{"type": "function", "name": n, "parameters": SCHEMA} for n in names]
        body: dict[str, Any] = {"input": messages}
    elif protocol == "chat":
        tools = [{"type": "function", "function": {"name": n, "parameters": SCHEMA}} for n in names]
        body = {"messages": messages, "stream_options": {"include_usage": True}}
    else:
        tools = [{"name": n, "input_schema": SCHEMA} for n in names]
        body = {"messages": messages, "max_tokens": 99}
    return json.dumps({"model": "m", "stream": stream, "tools": tools, **body}).encode()


def translation(
    client: str, upstream: str, data: bytes = b"", *, way: str = "plain", stream: bool = True
) -> Translation:
    """For an answer of ``upstream`` whose calls are all of offered tools; ``way``: what else is
    done to it."""
    names = sorted({n.decode() for n in re.findall(rb'"name": ?"([\w-]{1,64})"', data)})
    turn = codec(client).read_request(request(client, names, stream=stream))
    route = Route("up", upstream, "m", "m", "test")  # type: ignore[arg-type]
    mask = Unmask({"MASKED_A_000000000001": "s3cret"}, {name: f"my_{name}" for name in names[:2]})
    return Translation(
        turn,
        route,
        codex=way == "codex" and client == "responses",
        unmask=mask if way == "masked" else None,
        repair=Rules(tuple(DIALECTS), "loose", always=True) if way == "repaired" else None,
    )


#: What may be done to an answer on its way.
WAYS = ("plain", "codex", "masked", "repaired")


def translator(client: str, upstream: str, data: bytes = b"", *, way: str = "plain") -> Translator:
    """A fresh one, as `translation` makes it."""
    return translation(client, upstream, data, way=way).translator()


def through(translator: Translator, data: bytes, cuts: list[int] = []) -> bytes:  # noqa: B006
    """What the client gets for ``data``, cut at ``cuts``."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[a:b] for a, b in itertools.pairwise(places)]
    return b"".join(map(translator.feed, pieces)) + translator.close()


def sse(value: Any, name: str = "") -> bytes:
    """One event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + json.dumps(value).encode() + b"\n\n"


def events(stream: bytes) -> list[Any]:
    """The data of each event, by the standard and nothing else: JSON, or ``[DONE]``. One that
    does not say its type has the event's name for it."""
    parsed: list[Any] = []
    data: list[str] = []
    name = ""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    for line in re.split("\r\n|\n|\r", text):
        field, _, value = line.partition(":")
        if not line:
            if data:
                joined = "\n".join(data)
                item = joined if joined == "[DONE]" else _json(joined)
                kind = item.get("type") if isinstance(item, dict) else "-"
                if name and not (kind and isinstance(kind, str)):
                    item["type"] = name
                parsed.append(item)
            data, name = [], ""
        elif field == "data":
            data.append(value.removeprefix(" "))
        elif field == "event":
            name = value.strip()
    assert not data, "the last event has no end"
    return parsed


def _json(text: str) -> Any:
    # However long a number is, it is JSON.
    return json.loads(text, parse_constant=_no, parse_int=lambda n: n if len(n) > 20 else int(n))


def _no(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def end(client: str, stream: bytes) -> str:
    """How an answer ends for ``client``, "whole" or "failed"; it must end, and only once."""
    parsed = events(stream)
    marks = len(parsed)
    while parsed and parsed[-1] == "[DONE]":
        parsed.pop()
    ends = [kind for event in parsed if (kind := _ends(client, event))]
    if client == "chat" and not ends:
        assert marks > len(parsed), "the answer has no end"
        return "whole"
    assert len(ends) == 1, f"the answer has {len(ends)} ends"
    assert _ends(client, parsed[-1]), "something stands behind the end"
    return ends[0]


def _ends(client: str, event: Any) -> str:
    """What an event says of the answer's end; in Chat only a failure is an event."""
    if not isinstance(event, dict):
        return ""
    if client == "chat":
        return "failed" if event.get("error") else ""
    kind = str(event.get("type"))
    if client == "messages":
        return {"message_stop": "whole", "error": "failed"}.get(kind, "")
    whole = ("response.completed", "response.incomplete")
    return "whole" if kind in whole else "failed" if kind in ("response.failed", "error") else ""


def read(protocol: str, data: bytes, *, whole: bool = False) -> list[Event]:
    """The canonical events of an answer."""
    decoder = codec(protocol).decoder(lambda: "seed", "up", set)
    return decoder.whole(data) if whole else [*decoder.feed(data), *decoder.close()]


def story(answer: list[Event]) -> dict[str, Any]:
    """What an answer comes to: texts, thoughts, calls, and how it ended."""
    result: dict[str, Any] = {"text": "", "thought": "", "calls": {}, "end": None}
    for event in answer:
        if isinstance(event, Text | Refusal):
            result["text"] += event.text
        elif isinstance(event, Reasoning):
            result["thought"] += event.text
        elif isinstance(event, CallStart):
            result["calls"][event.key] = [event.name, ""]
        elif isinstance(event, CallDelta):
            result["calls"][event.key][1] += event.arguments
        elif isinstance(event, Finish | Failure):
            assert result["end"] is None, "an answer ends once"
            result["end"] = event
    return result


def finished_calls(client: str, stream: bytes) -> list[str]:
    """The arguments of the calls that a client would run."""
    if client == "responses":
        items = [e["item"] for e in events(stream) if _is(e, "response.output_item.done")]
        return [i["arguments"] for i in items if i["type"] == "function_call"]
    arguments: dict[Any, str] = {}
    for event in events(stream):
        if client == "chat" and isinstance(event, dict):
            for choice in event.get("choices") or ():
                for call in choice["delta"].get("tool_calls") or ():
                    piece = call.get("function", {}).get("arguments") or ""
                    arguments[call.get("index")] = arguments.get(call.get("index"), "") + piece
        elif _is(event, "content_block_start") and event["content_block"]["type"] == "tool_use":
            arguments[event["index"]] = ""
        elif _is(event, "content_block_delta") and "partial_json" in event["delta"]:
            arguments[event["index"]] += event["delta"]["partial_json"]
    return [*arguments.values()] if end(client, stream) == "whole" else []


def _is(event: Any, kind: str) -> bool:
    return isinstance(event, dict) and event.get("type") == kind
