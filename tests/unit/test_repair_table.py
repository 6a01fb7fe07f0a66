"""Every dialect × {intact, each damage} × kind of tool × {said, thought}: the call, or the text as it
came; and the same however the text is cut. A sample always, all of it in `make test-full`."""

from __future__ import annotations

import random

import pytest

from shim.repair.dialects import DIALECTS, NUMBERS
from shim.turn import Finish, Reasoning, Text
from tests.unit.repair_cases import (
    ALL,
    CUTS,
    DAMAGES,
    KINDS,
    cases,
    kinds_of,
    marks,
    run,
    story,
)

CASES = list(cases())
SAMPLE = random.Random(6).sample(CASES, 120)
#: Damages after which no dialect may give up: they leave no doubt of what is meant.
SURE = {"spaces around", "end token behind", "orphan closes behind", "junk line before"}


def check(name: str, kind: str, damage: str, text: str, said: type, thorough: bool) -> bool:
    """Whether it became a call; fails where it is neither that call nor the text itself."""
    tool = KINDS[kind]
    whole = story(run([text], kind=said))
    called = bool(whole[1])
    if called:
        assert whole[1] == [(tool.name, tool.arguments)], (name, damage)
        assert whole[0].strip() in ("", "count"), (name, damage, whole[0])
    else:
        assert whole[0] == text, (name, damage)
    ways = [list(text)]
    places = sorted(marks(text, DIALECTS[name]))
    if not thorough:
        places = random.Random(text).sample(places, min(4, len(places)))
    ways += [[text[:at], text[at:]] for at in places if 0 < at < len(text)]
    for pieces in ways:
        again = story(run(pieces, kind=said))
        assert again[1] == whole[1], (name, damage, pieces[:2])
        assert again[0].strip() == whole[0].strip(), (name, damage, pieces[:2])
        assert called or again[0] == text
    return called


def test_all_fifty_eight_are_there() -> None:
    assert set(NUMBERS.values()) == set(range(1, 59))
    assert len({text for _, _, damage, text in CASES if damage == "intact"}) > 100


@pytest.mark.parametrize("name", ALL)
def test_an_intact_call_is_made_in_text_and_in_thoughts(name: str) -> None:
    for kind, tool in kinds_of(DIALECTS[name]).items():
        text = DIALECTS[name].write(tool.name, tool.arguments)
        for said in (Text, Reasoning):
            assert check(name, kind, "intact", text, said, False), (name, kind, said)
        # Behind a sentence, in each strictness.
        for strictness in ("strict", "normal", "loose"):
            got = story(run([f"I look.\n{text}"], strictness=strictness))
            assert got == ("I look.\n", [(tool.name, tool.arguments)]), strictness


@pytest.mark.parametrize("case", SAMPLE, ids=lambda c: f"{c[0]}-{c[1]}-{c[2]}")
def test_a_sample_of_the_table(case: tuple[str, str, str, str]) -> None:
    name, kind, damage, text = case
    for said in (Text, Reasoning):
        called = check(name, kind, damage, text, said, False)
        assert called or damage not in SURE, (name, damage)


@pytest.mark.full
@pytest.mark.parametrize("name", ALL)
def test_the_whole_table(name: str) -> None:
    for case in cases([name]):
        for said in (Text, Reasoning):
            called = check(*case, said, True)
            assert called or case[2] not in SURE, case


@pytest.mark.parametrize("name", ALL)
def test_what_a_token_limit_cut_off_is_never_run(name: str) -> None:
    for tool in kinds_of(DIALECTS[name]).values():
        text = DIALECTS[name].write(tool.name, tool.arguments)
        for part in CUTS:
            cut = text[: int(len(text) * part)]
            events = run([cut], reason="length")
            assert events[-1] == Finish("length")
            for call in (got := story(events))[1]:
                # All of it was there; what lacked is the end of the wrapper.
                assert call == (tool.name, tool.arguments) and part == CUTS[-1]
            assert got[1] or got[0] == cut
            # Nor where the upstream does not say so; only what is whole may run.
            for call in story(run([cut]))[1]:
                assert call == (tool.name, tool.arguments), (name, cut)


def test_every_damage_is_mended_in_some_dialect() -> None:
    mended = {damage for _, _, damage, text in CASES if story(run([text]))[1]}
    assert mended == {"intact", *DAMAGES}
