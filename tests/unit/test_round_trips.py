"""Requests on their way to another protocol and back lose nothing that both can say; what only
Codex knows passes untouched to its own protocol and breaks no other."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.route.choose import Route
from shim.turn import Turn, text_of
from shim.wire.protocols import codec
from shim.wire.translate import Translation

PROTOCOLS = ("responses", "chat", "messages")
PAIRS = [(c, u) for c in PROTOCOLS for u in PROTOCOLS if c != u]
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Zs", "Cc")), min_size=1, max_size=20
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
ARGUMENTS = st.dictionaries(TEXTS, VALUES, max_size=3)
ROUND = st.tuples(
    st.lists(TEXTS, min_size=1, max_size=2),
    st.booleans(),
    st.one_of(st.none(), TEXTS),
    st.lists(st.tuples(ARGUMENTS, TEXTS), max_size=3),
)
TALKS = st.tuples(st.one_of(st.none(), TEXTS), st.lists(ROUND, min_size=1, max_size=4))
IMAGE = "data:image/png;base64,QUJD"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def written(protocol: str, talk: Any) -> dict[str, Any]:
    """The generated conversation as a client of ``protocol`` sends it."""
    system, rounds = talk
    turns: list[Any] = []
    number = 0
    for texts, image, said, calls in rounds:
        made = [(f"call_{number + n}", given, out) for n, (given, out) in enumerate(calls)]
        number += len(calls)
        turns += _ROUNDS[protocol](texts, image, said, made)
    tool = {"name": "run", "description": "d"}
    if protocol == "responses":
        head: dict[str, Any] = {"input": turns, "instructions": system}
        head["tools"] = [{"type": "function", **tool, "parameters": SCHEMA}]
    elif protocol == "chat":
        first = [{"role": "system", "content": system}] if system else []
        head = {"messages": [*first, *turns]}
        head["tools"] = [{"type": "function", "function": {**tool, "parameters": SCHEMA}}]
    else:
        head = {"messages": turns, "max_tokens": 9, **({"system": system} if system else {})}
        head["tools"] = [{**tool, "input_schema": SCHEMA}]
    return {"model": "m", **head}


def _responses(texts: list[str], image: bool, said: str | None, calls: list[Any]) -> list[Any]:
    parts: list[Any] = [{"type": "input_text", "text": t} for t in texts]
    parts += [{"type": "input_image", "image_url": IMAGE}] if image else []
    made: list[Any] = [{"type": "message", "role": "user", "content": parts}]
    if said:
        content = [{"type": "output_text", "text": said}]
        made.append({"type": "message", "role": "assistant", "content": content})
    for call_id, arguments, _ in calls:
        call = {"type": "function_call", "call_id": call_id, "name": "run"}
        made.append({**call, "arguments": json.dumps(arguments)})
    for call_id, _, out in calls:
        made.append({"type": "function_call_output", "call_id": call_id, "output": out})
    return made


def _chat(texts: list[str], image: bool, said: str | None, calls: list[Any]) -> list[Any]:
    parts: list[Any] = [{"type": "text", "text": t} for t in texts]
    parts += [{"type": "image_url", "image_url": {"url": IMAGE}}] if image else []
    made: list[Any] = [{"role": "user", "content": parts}]
    if said or calls:
        message: dict[str, Any] = {"role": "assistant", "content": said}
        if calls:
            message["tool_calls"] = [
                {
                    "id": i,
                    "type": "function",
                    "function": {"name": "run", "arguments": json.dumps(given)},
                }
                for i, given, _ in calls
            ]
        made.append(message)
    return [*made, *({"role": "tool", "tool_call_id": i, "content": out} for i, _, out in calls)]


def _messages(texts: list[str], image: bool, said: str | None, calls: list[Any]) -> list[Any]:
    source = {"type": "base64", "media_type": "image/png", "data": "QUJD"}
    parts: list[Any] = [{"type": "text", "text": t} for t in texts]
    parts += [{"type": "image", "source": source}] if image else []
    made: list[Any] = [{"role": "user", "content": parts}]
    blocks: list[Any] = [{"type": "text", "text": said}] if said else []
    blocks += [
        {"type": "tool_use", "id": i, "name": "run", "input": given} for i, given, _ in calls
    ]
    if blocks:
        made.append({"role": "assistant", "content": blocks})
    results = [{"type": "tool_result", "tool_use_id": i, "content": out} for i, _, out in calls]
    return [*made, *([{"role": "user", "content": results}] if results else [])]


_ROUNDS: dict[str, Any] = {"responses": _responses, "chat": _chat, "messages": _messages}


def meant(turn: Turn) -> dict[str, Any]:
    """What a turn says, without the borders that protocols draw differently."""
    found: dict[str, Any] = {"user": "", "assistant": "", "system": "", "images": 0}
    found |= {"calls": [], "outputs": {}, "order": []}
    found["system"] = str(turn.setting("instructions", ""))
    for item in turn.items:
        if item.type == "message":
            role = "system" if item.role == "developer" else str(item.role)
            for part in _parts(item.content):
                found["images"] += part.get("type") == "input_image"
                found[role] += part.get("text", "").replace("\n", "")
        elif item.type == "function_call":
            found["calls"].append((item.call_id, item.name, json.loads(text_of(item.arguments))))
            found["order"].append(item.call_id)
        elif item.type == "function_call_output":
            texts = "".join(p.get("text", "") for p in _parts(item.output))
            found["outputs"][item.call_id] = texts
            found["order"].append(f"{item.call_id} answered")
    found["tools"] = [(t["name"], t["description"], t["parameters"]) for t in turn.tools]
    return found


def _parts(raw: msgspec.Raw) -> list[dict[str, Any]]:
    value = msgspec.json.decode(raw)
    return [{"text": value}] if isinstance(value, str) else value


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@settings(max_examples=40, deadline=None)
@given(talk=TALKS)
def test_a_request_says_the_same_in_another_protocol(client: str, upstream: str, talk: Any) -> None:
    body = json.dumps(written(client, talk)).encode()
    turn = codec(client).read_request(body)
    there = Translation(turn, Route("up", upstream, "m", "m", "t"), codex=False)  # type: ignore[arg-type]
    other = codec(upstream).read_request(there.request())
    before, after = meant(codec(client).read_request(body)), meant(other)
    for half in (before, after):
        half["tools"] = [(n, d, p["properties"]) for n, d, p in half["tools"]]
    assert after == before
    back = Translation(other, Route("up", client, "m", "m", "t"), codex=False)  # type: ignore[arg-type]
    again = meant(codec(client).read_request(back.request()))
    again["tools"] = [(n, d, p["properties"]) for n, d, p in again["tools"]]
    assert again == before
    assert not there.notes and not back.notes


PRIVATE: list[dict[str, Any]] = [
    {"type": "agent_message", "id": "am_1", "author": "a", "content": [{"type": "x", "y": 1}]},
    {"type": "tool_search_call", "call_id": "ts", "execution": "client", "arguments": {"q": "x"}},
    {"type": "tool_search_output", "call_id": "ts", "tools": []},
    {"type": "configuration_update", "reasoning": {"effort": "low"}},
    {"type": "additional_tools", "tools": [{"type": "function", "name": "late"}]},
    {"type": "nobody_has_seen_this", "deep": {"er": [1, 2.50, "\u00fc"]}},
    {"type": "compaction", "encrypted_content": "opaque"},
    {"type": "reasoning", "summary": [], "encrypted_content": "opaque"},
    {"type": "item_reference", "id": "msg_1"},
]


@pytest.mark.parametrize("item", PRIVATE, ids=lambda i: i["type"])
def test_what_only_codex_knows(item: dict[str, Any]) -> None:
    asked = {"type": "message", "role": "user", "content": "hi"}
    # Spaces and escapes as no encoder of ours would write them: the bytes must be the client's.
    inner = json.dumps(item, indent=1)
    body = f'{{"model": "m",  "input": [{json.dumps(asked)}, {inner}], "stream":true }}'.encode()
    for codex in (True, False):
        turn = codec("responses").read_request(body)
        route = Route("up", "responses", "m", "m", "t", third_party=False)
        assert Translation(turn, route, codex=codex).request() == body
    renamed = codec("responses").read_request(body)
    made = Translation(renamed, Route("up", "responses", "other", "m", "t"), codex=True).request()
    assert inner.encode() in made
    for upstream in ("chat", "messages"):
        turn = codec("responses").read_request(body)
        there = Translation(turn, Route("up", upstream, "m", "m", "t"), codex=True)  # type: ignore[arg-type]
        messages = json.loads(there.request())["messages"]
        assert messages[0]["role"] == "user" and "hi" in json.dumps(messages[0])
