"""Random sessions through the whole chain; `python -m tests.fuzz` runs more of them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.case import PATHS, Case
from tests.fuzz.checking import check, verdict
from tests.fuzz.sessions import cases

pytestmark = pytest.mark.slow

#: The same ones each time: what fails here fails for everybody.
SETTINGS = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("protocol", PATHS)
def test_three_sentences(protocol: str) -> None:
    """What the rules forbid is not sent; what is secret neither leaves nor is written nor reaches
    another client; every turn has one end."""

    @SETTINGS
    @given(cases(protocol))
    def holds(case: Case) -> None:
        found = check(case)
        assert not found, verdict(case, found)

    holds()
