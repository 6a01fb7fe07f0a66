"""A conversation's bodies are known again: what is new is all that is sent, searched and packed."""

from __future__ import annotations

import json
from io import BytesIO
from itertools import product

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shim.record import bodies as module
from shim.record.bodies import Bodies, Body

NAMES = ["plain", "SECRET", "SECURE", "NO REGRET", 'quote"', "},{", "", "x" * 70_000, "é"]
WORDS = st.sampled_from(NAMES)
ITEMS = st.lists(st.fixed_dictionaries({"text": WORDS}), max_size=6)


def body(items: list[dict[str, str]], tools: list[dict[str, str]]) -> bytes:
    made = {"model": "m", "input": items, "tools": tools}
    return json.dumps(made, separators=(",", ":")).encode()


def hide(data: bytes) -> bytes:
    return data.replace(b"SECRET", b"*")


def searched(body: Body, why: object = "secret") -> bool:
    """Whether ``body`` holds nothing to hide, as far as it has to be searched."""
    made = body.told(why, hide, clean=hide(body.unsearched(why)) == body.unsearched(why))
    assert bytes(made) == hide(bytes(body)) == unpacked(made.packed())
    return made is body


def unpacked(data: bytes) -> bytes:
    reader = zstandard.ZstdDecompressor().stream_reader(BytesIO(data), read_across_frames=True)
    return reader.read()


@pytest.mark.parametrize("chunk", [40, 64 * 1024])
@given(turns=st.lists(st.tuples(ITEMS, ITEMS), max_size=6), least=st.sampled_from([1, 64]))
def test_what_arrives_is_what_was_sent(
    chunk: int, turns: list[tuple[list, list]], least: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        patch.setattr(module, "_LEAST", least)
        here, there = Bodies(most=200_000), Bodies(most=200_000)
        for items, tools in turns:
            data = body(items, tools)
            part, kept = here.take("thread", data)
            made = there.put("thread", part)
            assert bytes(kept) == bytes(made) == unpacked(made.packed()) == data
            assert len(made) == len(data)
            assert searched(made) <= (hide(data) == data)


@pytest.mark.parametrize(("before", "after"), list(product(NAMES, NAMES)))
@pytest.mark.parametrize("least", [1, 64])
def test_it_finds_what_took_the_place_of_something_like_it(
    before: str, after: str, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LEAST", least)
    bodies = Bodies()
    for word in (before, after):
        data = body([{"text": "first"}, {"text": word}, {"text": "last"}], [])
        assert searched(bodies.take("thread", data)[1]) <= (hide(data) == data)


@given(ITEMS, ITEMS, ITEMS)
def test_of_a_next_turn_only_what_is_new_is_sent_and_searched(
    items: list, more: list, tools: list
) -> None:
    bodies = Bodies()
    first = body([{"text": "the first"}, *items], [*tools, {"text": "last"}])
    second = body([{"text": "the first"}, *items, *more], [*tools, {"text": "last"}])
    added = len(second) - len(first)
    widest = max((len(json.dumps(i)) for i in (*items, *more, *tools)), default=0)
    _, made = bodies.take("thread", first)
    searched(made)
    part, made = bodies.take("thread", second)
    # A few bytes that are alike by chance are not worth a chunk.
    assert len(part.new) <= added + 2 * 64 + widest
    assert len(made.unsearched("secret")) <= added + 3 * widest + 300
    assert made.unsearched("another") == second
    part, made = bodies.take("another", first)
    assert part.new == made.unsearched("secret") == first


def test_a_body_counts_as_searched_only_once_it_was() -> None:
    bodies = Bodies()
    clean, dirty = body([{"text": "a"}], []), body([{"text": "a"}, {"text": "SECRET"}], [])
    _, first = bodies.take("thread", clean)
    # A batch is taken whole before the first of it is searched.
    _, second = bodies.take("thread", dirty)
    _, third = bodies.take("thread", body([{"text": "a"}, {"text": "SECRET"}, {"text": "b"}], []))
    assert searched(first) and not searched(second)
    assert b"SECRET" in third.unsearched("secret") and not searched(third)


def test_a_search_that_broke_was_none() -> None:
    bodies = Bodies()
    _, first = bodies.take("thread", body([{"text": "SECRET"}], []))
    with pytest.raises(ZeroDivisionError):
        first.told("secret", lambda data: bytes(1 // 0))
    _, second = bodies.take("thread", body([{"text": "SECRET"}, {"text": "b"}], []))
    assert not searched(second)


def test_where_something_was_hidden_only_what_is_new_is_searched() -> None:
    bodies, looked_at = Bodies(), 0
    items = [{"text": f"{n} SECRET {'word ' * 100}"} for n in range(400)]

    def look(data: bytes) -> bytes:
        nonlocal looked_at
        looked_at += len(data)
        return hide(data)

    for n in range(100):
        items.append({"text": f"{n} {'SECRET' if n % 3 else 'word'} {'text ' * 50}"})
        data = body(items, [{"text": "last"}])
        _, made = bodies.take("thread", data)
        told = made.told("secret", look)
        assert bytes(told) == hide(data) == unpacked(told.packed())
        assert len(told.chunks) < 100
        if n == 1:
            looked_at = 0
    assert looked_at < 2 * len(data)
    _, made = bodies.take("thread", data)
    assert bytes(made.told("another", lambda data: data.replace(b"word", b"-"))) == data.replace(
        b"word", b"-"
    )


def test_many_small_turns_make_few_chunks() -> None:
    bodies, items = Bodies(), [{"text": "the first"}]
    for n in range(600):
        items.append({"text": f"{n} " + "word " * 90})
        part, made = bodies.take("thread", body(items, [{"text": "last"}]))
        assert n == 0 or len(part.new) < 1000
    assert len(made.chunks) < 200


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    bodies, new = Bodies(most=1000), []
    for name in ("a", "b", "a", "a"):
        part, _ = bodies.take(name, b"x" * 600)
        new.append(len(part.new))
    assert new == [600, 600, 600, 0]
