"""Damaged streams of any upstream, over all pairs of protocols: nothing raises, the client's answer
is one of its protocol however it was cut, and what could not be read is never translator up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit import damage, streams

pytestmark = pytest.mark.slow

#: Hypothesis's own limits on time say nothing on a machine that others use too.
SETTINGS = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, str, bytes]:
    """(client, upstream, a recorded stream of it)."""
    client, upstream = draw(st.sampled_from(streams.PAIRS))
    return client, upstream, draw(st.sampled_from(streams.recorded(upstream)))


CUTS = st.lists(st.integers(0, 20_000), max_size=12)


@SETTINGS
@given(case=cases(), name=st.sampled_from([*damage.HARMLESS]), at=st.integers(0, 200), cuts=CUTS)
def test_what_is_plainly_meant_is_read(
    case: tuple[str, str, bytes], name: str, at: int, cuts: list[int]
) -> None:
    client, upstream, stream = case
    all = damage.parts(stream)
    damaged = damage.HARMLESS[name](all, at % len(all))
    right = streams.through(streams.translator(client, upstream, stream), stream)
    translator = streams.translator(client, upstream, stream)
    out = streams.through(translator, damaged, cuts)
    assert streams.end(client, out) == "whole" and translator.failure is None
    assert streams.story(streams.read(client, out)) == streams.story(streams.read(client, right))
    assert streams.finished_calls(client, out) == streams.finished_calls(client, right)
    assert out == streams.through(streams.translator(client, upstream, stream), damaged)


@SETTINGS
@given(case=cases(), name=st.sampled_from([*damage.HARMFUL]), at=st.integers(0, 200), cuts=CUTS)
def test_what_cannot_be_read_fails_the_turn(
    case: tuple[str, str, bytes], name: str, at: int, cuts: list[int]
) -> None:
    client, upstream, stream = case
    all = damage.parts(stream)
    at = at % len(all)
    damaged = damage.harmful(all, at, name)
    if damaged == b"".join(part + b"\n\n" for part in all):
        return
    translator = streams.translator(client, upstream, stream)
    out = streams.through(translator, damaged, cuts)
    assert streams.end(client, out) == "failed" and translator.failure
    assert translator.failure.message.startswith("up sent an event that cannot be read: ")
    assert len(translator.failure.message) < 160 and translator.failure.retry
    # Of an answer that passes, an item that was done before is whole.
    right = streams.through(streams.translator(client, upstream, stream), stream)
    whole = streams.finished_calls(client, right) if client == upstream else []
    assert set(streams.finished_calls(client, out)) <= set(whole)
    before = streams.story(streams.read(upstream, b"".join(part + b"\n\n" for part in all[:at])))
    result = streams.story(streams.read(client, out))
    assert result["text"] == before["text"] and result["thought"] == before["thought"]
    assert out == streams.through(streams.translator(client, upstream, stream), damaged)


@SETTINGS
@given(data=st.data(), case=cases(), cuts=CUTS, way=st.sampled_from(streams.WAYS))
def test_nothing_raises_and_every_answer_is_one(
    data: st.DataObject, case: tuple[str, str, bytes], cuts: list[int], way: str
) -> None:
    client, upstream, stream = case
    damaged = data.draw(damage.anything(stream))
    translator = streams.translator(client, upstream, stream, way=way)
    out = streams.through(translator, damaged, cuts)
    assert (streams.end(client, out) == "failed") == bool(translator.failure)
    assert translator.failure or translator.response is not None
    assert translator.calls >= 0 and (translator.usage is None or translator.usage.input >= 0)
    assert out == streams.through(streams.translator(client, upstream, stream, way=way), damaged)
    if translator.failure and (client != upstream or way == "repaired"):
        assert streams.finished_calls(client, out) == []


@st.composite
def wholes(draw: st.DrawFn) -> tuple[str, str, bytes, bytes]:
    """(client, upstream, stream, the answer as it comes unstreamed, with odd values in it)."""
    client, upstream, stream = draw(cases())
    right = streams.translation(upstream, upstream, stream, way="repaired").translator()
    streams.through(right, stream)
    value: Any = right.response
    for _ in range(draw(st.integers(0, 3))):
        value = json.loads(draw(damage.odd_json(value)))
    return (
        client,
        upstream,
        stream,
        draw(damage.odd_json(value, literal=True) | st.just(json.dumps(value).encode())),
    )


@SETTINGS
@given(case=wholes(), way=st.sampled_from(streams.WAYS), streamed=st.booleans())
def test_an_odd_answer_that_came_as_a_whole_is_one_or_fails(
    case: tuple[str, str, bytes, bytes], way: str, streamed: bool
) -> None:
    client, upstream, stream, body = case
    translation = streams.translation(client, upstream, stream, way=way, stream=streamed)
    translator = translation.translator()
    head = {"content-type": "application/json"}
    assert not translation.streams(200, head)
    answer = translation.answer(translator, 200, head, body)
    failure = answer.failure if answer else None
    if answer and answer.body is not None:
        if answer.headers["content-type"] == "text/event-stream":
            assert (streams.end(client, answer.body) == "failed") == bool(failure)
        else:
            assert isinstance(json.loads(answer.body), dict)
    if failure:
        assert failure.message.startswith("up")
