"""The forbidden phrase and a key at every place of a request where words may be, through a real
chain: the provider gets neither.

In the ordinary run each place has one of both, and its own protocol's upstream; all of it in the
full one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.fail_closed import (
    PROVIDER_KEY,
    Result,
    World,
    check_answer,
    check_journal,
    check_sent,
    told,
)
from tests.e2e.known_faults import REQUESTS, mark
from tests.e2e.odd_bodies import OWN_KEY, PATHS, SECRET, Odd
from tests.e2e.odd_items import escaped, in_all_places

Case = tuple[Odd, str]
STATUSES = {200, 400}


def cases(*, full: bool) -> Iterator[Case]:
    """Those of the ordinary run, or all others."""
    if not full:
        # Where not even the model's name is changed, the client's own bytes pass.
        yield from ((odd, f"same-{odd.protocol}") for odd in escaped())
    for number, odd in enumerate([*in_all_places(), *escaped()]):
        for protocol in PATHS:
            # Two follow each other at one place.
            chosen = protocol == odd.protocol and number % 4 in (0, 3)
            if chosen is not full:
                yield odd, f"to-{protocol}"


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
        check_answer(result, STATUSES)
        check_journal(result)
        if result.got.status == 400:
            assert not result.sent


@pytest.fixture(scope="module")
def ordinary() -> Iterator[Run]:
    with World("rules") as world:
        yield Run(world, cases(full=False))


@pytest.fixture(scope="module")
def full() -> Iterator[Run]:
    with World("rules") as world:
        yield Run(world, cases(full=True))


@pytest.mark.parametrize("case", params(full=False))
def test_what_is_forbidden_or_secret(ordinary: Run, case: Case) -> None:
    ordinary.check(case)


@pytest.mark.parametrize("case", params(full=True))
def test_what_is_forbidden_or_secret_everywhere(full: Run, case: Case) -> None:
    full.check(case)


def test_no_key_is_written(ordinary: Run) -> None:
    world = ordinary.world
    assert told(world.chain, SECRET, OWN_KEY, world.key, PROVIDER_KEY) == []
    assert not world.trap.requests
