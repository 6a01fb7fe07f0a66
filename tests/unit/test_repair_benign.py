"""No false positives: text that only shows a call, or has nothing to do with one, comes out as it
went in, byte for byte."""

from __future__ import annotations

import random

import pytest

from shim.turn import CallStart, Event, Finish, Reasoning, Text
from tests.unit.repair_benign import carrying, unrelated
from tests.unit.repair_cases import run, text_calls

CARRYING = list(carrying())


def pieces(text: str, seed: str) -> list[str]:
    """``text`` as a stream brings it."""
    rng, out, at = random.Random(seed), [], 0
    while at < len(text):
        size = rng.randint(1, 30)
        out.append(text[at : at + size])
        at += size
    return out


def said(events: list[Event]) -> str | None:
    """What was said; None where anything was called."""
    if any(isinstance(e, CallStart) for e in events):
        return None
    return "".join(e.text for e in events if isinstance(e, Text | Reasoning))


def wrong(texts: list[tuple[str, str]], strictness: str = "normal") -> list[str]:
    return [
        where
        for where, text in texts
        if said(run([text], strictness=strictness)) != text
        or said(run(pieces(text, where), strictness=strictness)) != text
    ]


def test_there_are_enough_of_them() -> None:
    assert len(CARRYING) >= 2000


@pytest.mark.parametrize("part", range(4))
def test_a_call_that_is_only_shown_is_text(part: int) -> None:
    assert wrong(CARRYING[part::4]) == []


@pytest.mark.full
def test_nor_in_the_strict_way_or_among_thoughts() -> None:
    assert wrong(CARRYING, "strict") == []
    for where, text in CARRYING:
        assert said(run([text], kind=Reasoning)) == text, where


def test_a_sample_of_files_comes_out_as_it_went_in() -> None:
    files = list(unrelated())
    assert len(files) + len(CARRYING) >= 10_000
    own = [f for f in files if "shim/" in f[0] or f[0].startswith(("repair/", "dialects"))]
    assert wrong(random.Random(6).sample(files, 1200) + own) == []


@pytest.mark.full
def test_all_files_come_out_as_they_went_in() -> None:
    assert wrong(list(unrelated())) == []


def test_with_tool_choice_none_nothing_is_a_call() -> None:
    call = '<tool_call>{"name": "exec_command", "arguments": {"cmd": "ls"}}</tool_call>'
    made = text_calls(choice="none")
    assert said([*made.filter([Text(call)]), *made.filter([Finish("stop")])]) == call
    named = text_calls(choice={"type": "function", "name": "write_stdin"})
    assert said([*named.filter([Text(call)]), *named.filter([Finish("stop")])]) == call


def test_beside_a_proper_call_text_is_text() -> None:
    call = '<tool_call>{"name": "exec_command", "arguments": {"cmd": "ls"}}</tool_call>'
    for before, after in ((call[:30], ""), (call, ""), ("", call), (call[:30], call)):
        made = text_calls()
        out = [*made.filter([Text(before)]), *made.filter([CallStart(1, "c", "exec_command")])]
        out += [*made.filter([Text(after)]), *made.filter([Finish("tool_calls")])]
        assert [e for e in out if isinstance(e, CallStart)] == [CallStart(1, "c", "exec_command")]
        text = "".join(e.text for e in out if isinstance(e, Text))
        assert text == before + after
