"""Odd bodies through a real chain with rules: nothing comes to the trap, the provider gets what the
rules allow, the client is told in its own protocol, the journal has every turn with its end.

Each body goes to one of three upstreams in the ordinary run, and to all of them in the full one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.fail_closed import (
    Result,
    World,
    check_answer,
    check_journal,
    check_sent,
    written,
)
from tests.e2e.known_faults import REQUESTS, mark
from tests.e2e.odd_bodies import OWN_KEY, PATHS, Odd, encodings, odd_bytes, odd_values

MODELS = ("to-responses", "to-chat", "to-messages")
Case = tuple[Odd, str]


def cases(*, full: bool) -> Iterator[Case]:
    """Those of the ordinary run, or all others."""
    for at, protocol in enumerate(PATHS):
        for group in (encodings, odd_bytes, odd_values):
            for number, odd in enumerate(group(protocol)):
                for model in MODELS:
                    chosen = model == MODELS[(number + at) % 3]
                    if group is encodings and not chosen:
                        # That is undone before anybody looks at the model.
                        continue
                    if group is encodings:
                        chosen = number % 3 == at
                    if (chosen and group is not odd_values) is not full:
                        yield odd, model


def params(*, full: bool) -> list[object]:
    more = [pytest.mark.full] if full else []
    return [
        pytest.param(
            (odd, model),
            id=f"{odd.protocol}-{odd.name}-{model}",
            marks=[*mark(REQUESTS, odd.protocol, odd.name, model), *more],
        )
        for odd, model in cases(full=full)
    ]


class Run:
    """All cases of one chain, sent at once; what came of each."""

    def __init__(self, world: World, sent: Iterator[Case]) -> None:
        self.world = world
        self.results = world.results(sent)

    def check(self, case: Case) -> None:
        odd, model = case
        result: Result = self.results[odd.protocol, odd.name, model]
        check_sent(result)
        check_answer(result, odd.status)
        check_journal(result)


@pytest.fixture(scope="module")
def ordinary() -> Iterator[Run]:
    with World("rules") as world:
        yield Run(world, cases(full=False))


@pytest.fixture(scope="module")
def full() -> Iterator[Run]:
    with World("rules") as world:
        yield Run(world, cases(full=True))


@pytest.mark.parametrize("case", params(full=False))
def test_an_odd_body(ordinary: Run, case: Case) -> None:
    ordinary.check(case)


@pytest.mark.parametrize("case", params(full=True))
def test_an_odd_body_to_all_upstreams(full: Run, case: Case) -> None:
    full.check(case)


def test_nothing_secret_is_written_and_nothing_crashed(ordinary: Run) -> None:
    world = ordinary.world
    assert not world.trap.requests
    kept = written(world.chain.folder)
    assert OWN_KEY.encode() not in kept and world.key.encode() not in kept
    assert "crashed" not in world.chain.log()
