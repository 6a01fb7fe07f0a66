"""Calls in the text of an answer: found at any cut, and never where none is meant."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.repair.checks import Toolbox
from shim.repair.stream import Rules, TextCalls
from shim.tools.bridge import Bridge
from shim.turn import CallDelta, CallStart, Event, Finish, Text

CALL = '<tool_call>{"name": "run", "arguments": {"cmd": "ls </tool_call"}}</tool_call>'
STRANGE = '<tool_call>{"name": "strange", "arguments": {}}</tool_call>'
SCRAPS = [STRANGE, "<tool_call>no</tool_call>", "<tool_call>", "</tool_call>", "<tool", "<", "ü"]
PIECES = st.lists(
    st.sampled_from([CALL, *SCRAPS, "words", "\n", '{"name": "run"}']), max_size=8
).map("".join)


def text_calls() -> TextCalls:
    tools = Toolbox(Bridge([{"type": "function", "name": "run"}]))
    return TextCalls(Rules(("hermes",), "loose"), tools, lambda: "0123456789abcdef")


def run(pieces: list[str], reason: str = "stop") -> list[Event]:
    made = text_calls()
    out = [e for piece in pieces for e in made.filter([Text(piece)])]
    return out + made.filter([Finish(reason)])


def story(events: list[Event]) -> tuple[str, list[tuple[str, str]], Event]:
    text = "".join(e.text for e in events if isinstance(e, Text))
    names = [e.name for e in events if isinstance(e, CallStart)]
    arguments = [e.arguments for e in events if isinstance(e, CallDelta)]
    return text, list(zip(names, arguments, strict=True)), events[-1]


@given(PIECES, st.lists(st.integers(0, 400), max_size=10))
def test_the_same_at_any_cut(text: str, at: list[int]) -> None:
    places = sorted({0, len(text), *(n % (len(text) + 1) for n in at)})
    whole = story(run([text]))
    assert story(run([text[a:b] for a, b in itertools.pairwise(places)]))[1:] == whole[1:]
    assert story(run(list(text)))[1:] == whole[1:]
    if not whole[1]:
        assert whole[0] == text and whole[2] == Finish("stop")


def test_a_call_is_made_and_the_answer_ends_in_calls() -> None:
    text, calls, end = story(run(["I look. ", CALL, "\n", CALL]))
    assert text == "I look. " and end == Finish("tool_calls")
    assert [name for name, _ in calls] == ["run", "run"]
    assert json.loads(calls[0][1]) == {"cmd": "ls </tool_call"}


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "strange", "arguments": {}}</tool_call>',
        "<tool_call>not json</tool_call>",
        '<tool_call>{"name": "run", "arguments": [1]}</tool_call>',
        '<tool_call>{"name": "run", "arguments": {"cmd": "cut off',
        "a < b and <tool_calls> too",
    ],
)
def test_what_is_no_call_leaves_as_it_came(text: str) -> None:
    assert story(run([text])) == (text, [], Finish("stop"))


def test_a_call_cut_off_by_the_limit_is_not_made() -> None:
    assert story(run([CALL[:-3]], "length")) == (CALL[:-3], [], Finish("length"))


def test_text_beside_a_proper_call_is_text() -> None:
    made = text_calls()
    out = made.filter([Text("<tool_call>{"), CallStart(1, "c", "run"), Text(CALL), Finish("stop")])
    assert story([e for e in out if not isinstance(e, CallStart)])[0] == "<tool_call>{" + CALL


def test_what_is_held_is_bounded() -> None:
    made = text_calls()
    made.filter([Text("<tool_call>")])
    out = [e for _ in range(300) for e in made.filter([Text("x" * 1024)])]
    assert sum(len(e.text) for e in out if isinstance(e, Text)) > 256 * 1024
