"""A body that is searched only where it is new: found is what a search of all of it finds."""

from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.record.again import Searched

NAMES = ["plain", "SECRET", "SECURE", "NO REGRET", 'quote"', "},{", "", "x" * 70_000, "é"]
WORDS = st.sampled_from(NAMES)
ITEMS = st.lists(st.fixed_dictionaries({"text": WORDS}), max_size=6)


def body(items: list[dict[str, str]], tools: list[dict[str, str]]) -> bytes:
    made = {"model": "m", "input": items, "tools": tools}
    return json.dumps(made, separators=(",", ":")).encode()


def hide(data: bytes) -> bytes:
    return data.replace(b"SECRET", b"*")


@given(st.lists(st.tuples(ITEMS, ITEMS), max_size=5))
def test_it_finds_what_a_whole_search_finds(turns: list[tuple[list, list]]) -> None:
    searched = Searched(most=200_000)
    for items, tools in turns:
        data = body(items, tools)
        assert searched.data("thread", data, hide) == hide(data)


@pytest.mark.parametrize(("before", "after"), list(product(NAMES, NAMES)))
def test_it_finds_what_took_the_place_of_something_like_it(before: str, after: str) -> None:
    searched = Searched()
    for word in (before, after):
        data = body([{"text": "first"}, {"text": word}, {"text": "last"}], [])
        assert searched.data("thread", data, hide) == hide(data)


@given(ITEMS, ITEMS, ITEMS)
def test_a_next_turn_is_searched_only_from_where_it_is_new(
    items: list, more: list, tools: list
) -> None:
    searched, looked_at = Searched(), []

    def look(data: bytes) -> bytes:
        looked_at.append(len(data))
        return data

    first = body([{"text": "the first"}, *items], [*tools, {"text": "last"}])
    second = body([{"text": "the first"}, *items, *more], [*tools, {"text": "last"}])
    searched.data("thread", first, look)
    searched.data("thread", second, look)
    searched.data("thread", second, look)
    searched.data("another", first, look)
    added = len(second) - len(first)
    widest = max((len(json.dumps(i)) for i in (*items, *more, *tools)), default=0)
    assert looked_at[1] <= added + 3 * widest + 120
    assert looked_at[2] == 0
    assert looked_at[3] == len(first)


def test_what_held_something_is_searched_again() -> None:
    searched = Searched()
    data = body([{"text": "SECRET"}], [])
    assert searched.data("thread", data, hide) == hide(data)
    assert searched.data("thread", data, hide) == hide(data)


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    searched, looked_at = Searched(most=1000), []

    def look(data: bytes) -> bytes:
        looked_at.append(len(data))
        return data

    for name in ("a", "b", "a"):
        searched.data(name, b"x" * 600, look)
    assert looked_at == [600, 600, 600]
