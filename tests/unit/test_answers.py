"""Answers of every upstream accumulate in the official SDK of every client, however they are cut."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.route.choose import Route
from shim.turn import (
    CallDelta,
    CallStart,
    Event,
    Finish,
    KeepAlive,
    Reasoning,
    ReasoningState,
    Started,
    Text,
    Usage,
)
from shim.wire.protocols import codec
from shim.wire.translate import Translation
from tests.unit import fixtures

pytestmark = pytest.mark.slow

PROTOCOLS = ("responses", "chat", "messages")
PAIRS = [(c, u) for c in PROTOCOLS for u in PROTOCOLS if c != u]
PATTERNS = {"chat": "*-chat__*", "responses": "*-responses__*", "messages": "anthropic__*"}
INDEXED = {"chat": "chat", "responses": "responses", "messages": "messages"}
STREAM = {"content-type": "text/event-stream"}
SCHEMA = {"type": "object", "properties": {}}


def asked(protocol: str, names: list[str], stream: bool = True) -> bytes:
    """A request in the words of ``protocol`` that offers tools of these ``names``."""
    tools: list[dict[str, Any]]
    said = [{"role": "user", "content": "hi"}]
    if protocol == "responses":
        tools = [{"type": "function", "name": n, "parameters": SCHEMA} for n in names]
        body = {"model": "m", "input": said, "tools": tools}
    elif protocol == "chat":
        tools = [{"type": "function", "function": {"name": n, "parameters": SCHEMA}} for n in names]
        options = {"stream_options": {"include_usage": True}}
        body = {"model": "m", "messages": said, "tools": tools, **options}
    else:
        tools = [{"name": n, "input_schema": SCHEMA} for n in names]
        body = {"model": "m", "messages": said, "max_tokens": 99, "tools": tools}
    return json.dumps({**body, "stream": stream}).encode()


def translation(client: str, upstream: str, names: list[str], stream: bool = True) -> Translation:
    turn = codec(client).read_request(asked(client, names, stream))
    return Translation(turn, Route("up", upstream, "m", "m", "test"), codex=False)  # type: ignore[arg-type]


def through(made: Translation, data: bytes, cuts: list[int] | None = None) -> bytes:
    translator = made.translator()
    places = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts or ())})
    pieces = [data[a:b] for a, b in itertools.pairwise(places)]
    return b"".join(map(translator.feed, pieces)) + translator.close()


def accumulated(client: str, stream: bytes) -> tuple[str, list[tuple[str, Any]], str]:
    """(text, calls, why it ended) as the official SDK of ``client`` makes it of ``stream``."""
    answer: Any = lambda request: httpx2.Response(200, headers=STREAM, content=stream)  # noqa: E731
    transport = httpx2.MockTransport(answer)
    if client == "messages":
        reply: Any = lambda request: httpx.Response(200, headers=STREAM, content=stream)  # noqa: E731
        module: Any = httpx2 if _takes(anthropic, httpx2) else httpx
        http: Any = module.Client(
            transport=module.MockTransport(answer if module is httpx2 else reply)
        )
        sdk = anthropic.Anthropic(api_key="k", base_url="http://test", http_client=http)
        with sdk.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
        ) as events:
            message = events.get_final_message()
        text = "".join(b.text for b in message.content if b.type == "text")
        calls = [(b.name, b.input) for b in message.content if b.type == "tool_use"]
        return text, calls, str(message.stop_reason)
    openai_sdk = openai.OpenAI(
        api_key="k", base_url="http://test/v1", http_client=httpx2.Client(transport=transport)
    )
    if client == "chat":
        with openai_sdk.chat.completions.stream(
            model="m", messages=[{"role": "user", "content": "hi"}]
        ) as chunks:
            for _ in chunks:
                pass
            choice = chunks.current_completion_snapshot.choices[0]
        made = [
            (c.function.name, _object(c.function.arguments))
            for c in choice.message.tool_calls or ()
            if c.type == "function"
        ]
        said = (choice.message.content or "") + (choice.message.refusal or "")
        return said, made, str(choice.finish_reason)
    with openai_sdk.responses.stream(model="m", input="hi") as parts:
        last: Any = [*parts][-1]
    items = last.response.output
    text = "".join(
        getattr(p, "text", "") or getattr(p, "refusal", "")
        for i in items
        if i.type == "message"
        for p in i.content
    )
    called = [(i.name, _object(i.arguments)) for i in items if i.type == "function_call"]
    return text, called, last.response.status


def _takes(sdk: Any, module: Any) -> bool:
    return module.Client in sdk.DefaultHttpxClient.__mro__


def _object(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def _recorded() -> list[tuple[str, str, Path]]:
    found = []
    for client, upstream in PAIRS:
        found += [(client, upstream, p) for p in fixtures.recorded(PATTERNS[upstream])]
    return found


@pytest.mark.skipif(
    not fixtures.INDEX.exists(),
    reason="the recorded provider streams lie beside the checkout, not in it",
)
@pytest.mark.parametrize("upstream", PROTOCOLS)
def test_the_recordings_are_all_there(upstream: str) -> None:
    assert len(fixtures.recorded(PATTERNS[upstream])) == fixtures.indexed(INDEXED[upstream]) > 0


@pytest.mark.parametrize(
    ("client", "upstream", "path"), _recorded(), ids=lambda p: p.name if isinstance(p, Path) else p
)
def test_recorded_streams_accumulate_in_the_sdk(client: str, upstream: str, path: Path) -> None:
    data = fixtures.body(path)
    names = sorted({n.decode() for n in re.findall(rb'"name": ?"([\w-]{1,64})"', data)})
    made = translation(client, upstream, names)
    out = through(made, data)
    events = codec(upstream).decoder(lambda: "seed", "up", set)
    known = [*events.feed(data), *events.close()]
    if failed := [e for e in known if type(e).__name__ == "Failure"]:
        assert failed[0].message.encode()[:20] in out
        return
    text, calls, _ = accumulated(client, out)
    expected = "".join(e.text for e in known if type(e).__name__ in ("Text", "Refusal"))
    assert text == expected
    assert len(calls) == sum(isinstance(e, CallStart) for e in known)
    assert through(made, data, [7, 100, 101, 1000, 5000]) == out


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1, max_size=12)


@st.composite
def answers(draw: st.DrawFn, upstream: str) -> list[Event]:
    """Events as an upstream of that protocol can tell them."""
    out: list[Event] = [Started("a1b2", 5)]
    if draw(st.booleans()):
        thought = draw(TEXTS)
        out.append(Reasoning(thought))
        state: dict[str, Any] = {"reasoning_content": thought}
        if upstream == "messages":
            block = {"type": "thinking", "thinking": thought, "signature": "c2ln"}
            state = {"blocks": [block]}
        elif upstream == "responses":
            summary = [{"type": "summary_text", "text": thought}]
            state = {"item": {"type": "reasoning", "id": "rs_1", "summary": summary}}
        out.append(ReasoningState(state))
    if draw(st.booleans()):
        out.append(KeepAlive())
    texts = draw(st.lists(TEXTS, max_size=3))
    out += [Text(t) for t in texts]
    calls = draw(st.lists(st.dictionaries(TEXTS, TEXTS, max_size=2), max_size=3))
    for key, arguments in enumerate(calls):
        out.append(CallStart(key, f"call_{key}", "run"))
        whole = json.dumps(arguments, ensure_ascii=draw(st.booleans()))
        at = draw(st.integers(0, len(whole)))
        out += [CallDelta(key, piece) for piece in (whole[:at], whole[at:]) if piece]
    out.append(Usage(20, 6, 0, 7, 0))
    out.append(Finish("tool_calls" if calls else "stop"))
    return out


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_answers_survive_the_way_to_another_protocol(
    client: str, upstream: str, data: st.DataObject
) -> None:
    events = data.draw(answers(upstream))
    # The upstream's own words, written by its own codec; what the client gets is read by its SDK.
    other = codec(upstream).read_request(asked(upstream, ["run"]))
    bridge = Translation(other, Route("x", "chat", "m", "m", "t"), codex=False).bridge
    wire = codec(upstream).encoder(
        turn=other, model="m", provider="far", bridge=bridge, codex=False
    )
    stream = wire.encode(events)
    made = translation(client, upstream, ["run"])
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=5))
    out = through(made, stream, cuts)
    assert out == through(made, stream)
    text, calls, _ = accumulated(client, out)
    assert text == "".join(e.text for e in events if isinstance(e, Text))
    pieces: dict[int, str] = {}
    for event in events:
        if isinstance(event, CallDelta):
            pieces[event.key] = pieces.get(event.key, "") + event.arguments
    expected = [json.loads(pieces.get(e.key, "{}")) for e in events if isinstance(e, CallStart)]
    assert [c[1] for c in calls] == expected
    whole = translation(client, upstream, ["run"], stream=False)
    translator = whole.translator()
    assert translator.whole(json.dumps(wire.response).encode())
    assert translator.usage == Usage(20, 6, 0, 7, 0)
    assert translator.calls == len(expected)
