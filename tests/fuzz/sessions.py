"""Random sessions: some exchanges of some clients under one policy."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from tests.fuzz.answers import ANSWERS
from tests.fuzz.case import PATHS, Case, Exchange
from tests.fuzz.mutations import one_in
from tests.fuzz.policy import VARIANTS
from tests.fuzz.requests import exchanges

_SCORES = ('{"A": 0.9, "B": 0.1}', '{"A": 0.1, "B": 0.9}', "no idea", "", '{"A": "95%", "B": null}')


@st.composite
def cases(draw: st.DrawFn, protocol: str) -> Case:
    """A session that begins with a client of ``protocol``."""
    made: list[Exchange] = []
    for number in range(draw(st.integers(1, 3))):
        if made and draw(one_in(4)):
            # The same once more: a retry, or a duplicate.
            one = replace(made[-1], overlaps=False)
        else:
            own = protocol if number == 0 else draw(st.sampled_from([protocol, *PATHS]))
            one = draw(exchanges(own, number))
        made.append(replace(one, answer=draw(ANSWERS)))
    limit = draw(st.sampled_from(["64m"] * 9 + ["2k"]))
    return Case(
        exchanges=tuple(made),
        variant=draw(VARIANTS),
        keys=draw(st.booleans()),
        target=draw(st.sampled_from([*PATHS])),
        scores=draw(st.sampled_from(_SCORES)),
        limit=limit,
        # At its bound an answer is cut off by whole pieces.
        recut=limit != "2k" and draw(one_in(4)),
    )
