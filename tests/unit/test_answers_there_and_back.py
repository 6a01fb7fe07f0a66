"""Answers from every upstream to every client, read again as that client's protocol has them: the
same events in the same order, whatever the cuts; an answer that broke off is never a whole one."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.route.choose import Route
from shim.turn import (
    Annotation,
    CallDelta,
    CallStart,
    Event,
    Failure,
    Finish,
    KeepAlive,
    Reasoning,
    ReasoningState,
    Refusal,
    Started,
    Text,
    Usage,
)
from shim.wire.protocols import codec
from shim.wire.reasoning import unpack
from shim.wire.translate import Translation
from tests.unit.conversations import TEXTS, VALUES, state

pytestmark = pytest.mark.slow

PROTOCOLS = ("responses", "chat", "messages")
PAIRS = [(c, u) for c in PROTOCOLS for u in PROTOCOLS]
SCHEMA = {"type": "object", "properties": {}}
ARGUMENTS = st.dictionaries(TEXTS, VALUES, max_size=2)


def asked(protocol: str, stream: bool = True) -> bytes:
    """A request that offers the function `run`, and a freeform `patch` where there are such."""
    said = [{"role": "user", "content": "hi"}]
    function: dict[str, Any] = {"name": "run", "parameters": SCHEMA}
    if protocol == "responses":
        tools = [{"type": "function", **function}, {"type": "custom", "name": "patch"}]
        body: dict[str, Any] = {"input": said, "tools": tools}
    elif protocol == "chat":
        both = [function, {"name": "patch", "parameters": SCHEMA}]
        body = {"messages": said, "tools": [{"type": "function", "function": f} for f in both]}
        body["stream_options"] = {"include_usage": True}
    else:
        names = ("run", "patch")
        body = {"messages": said, "max_tokens": 99}
        body["tools"] = [{"name": name, "input_schema": SCHEMA} for name in names]
    return json.dumps({"model": "m", "stream": stream, **body}).encode()


def translation(client: str, upstream: str, stream: bool = True) -> Translation:
    turn = codec(client).read_request(asked(client, stream))
    return Translation(turn, Route("up", upstream, "m", "m", "t"), codex=False)  # type: ignore[arg-type]


@st.composite
def answers(draw: st.DrawFn, upstream: str) -> list[Event]:
    """An answer as events; some of them only some protocols have words for."""
    out: list[Event] = [Started("a1b2", 5)]
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            pieces = draw(st.lists(TEXTS, min_size=1, max_size=2))
            out += [Reasoning(p) for p in pieces]
            out.append(ReasoningState(state(upstream, "".join(pieces), "c2ln")))
        if draw(st.booleans()):
            out.append(KeepAlive())
        out += [Text(t) for t in draw(st.lists(TEXTS, min_size=1, max_size=3))]
        if draw(st.booleans()):
            where = {"url": "https://a.test", "title": "A", "start_index": 0, "end_index": 1}
            out.append(Annotation({"type": "url_citation", **where}))
    given = draw(st.lists(st.tuples(st.sampled_from(["run", "patch"]), ARGUMENTS), max_size=3))
    waiting: list[list[Event]] = []
    for key, (name, arguments) in enumerate(given):
        whole = {"input": json.dumps(arguments)} if name == "patch" else arguments
        text = json.dumps(whole, ensure_ascii=draw(st.booleans()))
        cuts = sorted({0, len(text), *draw(st.lists(st.integers(0, len(text)), max_size=2))})
        start: Event = CallStart(key, f"call_{key}", name)
        deltas = [CallDelta(key, text[a:b]) for a, b in itertools.pairwise(cuts)]
        waiting.append([start, *deltas])
    if draw(st.booleans()):
        # Parallel: all begin in order, then their pieces mix.
        out += [call.pop(0) for call in waiting]
        while any(waiting):
            out.append(draw(st.sampled_from([call for call in waiting if call])).pop(0))
    else:
        out += itertools.chain(*waiting)
    if not given and draw(st.booleans()):
        out.append(Refusal(draw(TEXTS)))
    out.append(Usage(20, *draw(st.sampled_from([(0, 0), (6, 0), (6, 3)])), 7, 2))
    reasons = ["stop", "length", "content_filter"]
    out.append(Finish("tool_calls" if given else draw(st.sampled_from(reasons))))
    return out


def wire(upstream: str, events: list[Event]) -> tuple[bytes, bytes]:
    """(stream, whole answer) of an upstream that says ``events``."""
    turn = codec(upstream).read_request(asked(upstream))
    bridge = Translation(turn, Route("x", "chat", "m", "m", "t"), codex=False).bridge
    made = codec(upstream).encoder(turn=turn, model="m", provider="far", bridge=bridge, codex=False)
    stream = made.encode(events)
    return stream, json.dumps(made.response).encode()


def read(protocol: str, data: bytes, whole: bool = False) -> list[Event]:
    decoder = codec(protocol).decoder(lambda: "seed", "up", set)
    return decoder.whole(data) if whole else [*decoder.feed(data), *decoder.close()]


def through(made: Translation, data: bytes, cuts: list[int]) -> bytes:
    translator = made.translator()
    places = sorted({0, len(data), *cuts})
    pieces = [data[a:b] for a, b in itertools.pairwise(places)]
    return b"".join(map(translator.feed, pieces)) + translator.close()


def story(events: list[Event]) -> list[list[Any]]:
    """What was thought and said, in order, and the calls behind it."""
    told: list[list[Any]] = []
    calls: dict[int, list[Any]] = {}
    for event in events:
        if isinstance(event, Text | Refusal | Reasoning):
            kind = "thought" if isinstance(event, Reasoning) else "said"
            if told and told[-1][0] == kind:
                told[-1][1] += event.text
            else:
                told.append([kind, event.text])
        elif isinstance(event, CallStart):
            calls[event.key] = [event.id, event.name, ""]
        elif isinstance(event, CallDelta):
            calls[event.key][2] += event.arguments
    return told + [[i, name, json.loads(text or "{}")] for i, name, text in calls.values()]


def joined(events: list[Event]) -> dict[str, str]:
    """The same where only the kinds stay apart: a whole answer of Chat has no order."""
    found: dict[str, str] = {}
    for kind, text, *_ in story(events):
        found[kind] = found.get(kind, "") + text
    return found


def states(events: list[Event], protocol: str) -> list[tuple[dict[str, Any], bool]]:
    """(what the upstream wants back, late) that a client of ``protocol`` keeps packed."""
    found = []
    for event in events:
        if isinstance(event, ReasoningState):
            for text in _kept(event.data, protocol):
                found.append(unpack(msgspec.Raw(json.dumps(text).encode()), "up"))
    return found


def _kept(data: dict[str, Any], protocol: str) -> list[str]:
    if protocol == "responses":
        return [data["item"]["encrypted_content"]]
    if protocol == "messages":
        return [block.get("signature") or block["data"] for block in data["blocks"]]
    return [entry["data"] for entry in data.get("reasoning_details", ())]


def cited(events: list[Event]) -> list[tuple[Any, ...]]:
    found = [event.data for event in events if isinstance(event, Annotation)]
    inner = [data.get("url_citation", data) for data in found]
    return [(d["url"], d["title"], d["start_index"], d["end_index"]) for d in inner]


def said(usage: Usage, *protocols: str) -> Usage:
    """What is left of ``usage`` after the protocols that do not tell reasoning from output."""
    hidden = "messages" in protocols
    return msgspec.structs.replace(usage, reasoning=0) if hidden else usage


def ending(events: list[Event]) -> Event:
    """The one event that ends an answer; it comes last."""
    ends = [event for event in events if isinstance(event, Finish | Failure)]
    assert len(ends) == 1 and events[-1] is ends[0]
    return ends[0]


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_an_answer_is_the_same_in_the_clients_protocol(
    client: str, upstream: str, data: st.DataObject
) -> None:
    events = data.draw(answers(upstream))
    stream, whole = wire(upstream, events)
    known = read(upstream, stream)
    made = translation(client, upstream)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    got = read(client, through(made, stream, cuts))
    assert story(got) == story(known) == story(events)
    if client != upstream:
        kept = [(e.data, e.late) for e in known if isinstance(e, ReasoningState)]
        assert states(got, client) == kept
    if "messages" not in (client, upstream):
        assert cited(got) == cited(events)
    usage = next(e for e in events if isinstance(e, Usage))
    assert [e for e in got if isinstance(e, Usage)] == [said(usage, client, upstream)]
    reason = events[-1].reason  # type: ignore[union-attr]
    if "messages" in (client, upstream) and any(isinstance(e, Refusal) for e in events):
        reason = "content_filter"
    assert ending(got) == Finish(reason)
    if client != upstream:
        unstreamed = translation(client, upstream, stream=False).translator().whole(whole)
        assert unstreamed is not None
        again = read(client, unstreamed, whole=True)
        assert joined(again) == joined(read(upstream, whole, whole=True)) == joined(events)
        assert ending(again) == Finish(reason)


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_an_answer_that_breaks_off_is_never_a_whole_one(
    client: str, upstream: str, data: st.DataObject
) -> None:
    events = data.draw(answers(upstream))
    stream, _ = wire(upstream, events)
    cut = stream[: data.draw(st.integers(0, len(stream)))]
    known = read(upstream, cut)
    out = through(translation(client, upstream), cut, [])
    got = read(client, out)
    end = ending(got)
    assert type(end) is type(ending(known))
    if isinstance(end, Finish):
        # All was there but the last marks of the stream.
        assert story(got) == story(events)
    elif client != upstream:
        assert "up " in end.message


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_failure_in_mid_answer_is_told_in_the_providers_words(
    client: str, upstream: str, data: st.DataObject
) -> None:
    events = data.draw(answers(upstream))
    at = data.draw(st.integers(1, len(events) - 1))
    words = data.draw(TEXTS.filter(lambda t: t.strip() != ""))
    failure = Failure(f"the disk is full: {words}", 500, "server_error", "server_error")
    stream, _ = wire(upstream, [*events[:at], failure])
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=3))
    got = ending(read(client, through(translation(client, upstream), stream, cuts)))
    assert isinstance(got, Failure) and "the disk is full" in got.message
