"""Random sessions through the whole chain; `python -m tests.fuzz` runs more of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.case import PATHS, Case, Exchange
from tests.fuzz.checking import check, recall, remember, verdict
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


_BROKEN = {
    "secret sent": ("shim.prompt.mask.Masks._found", lambda self, data: []),
    "refused": ("shim.prompt.catch.Catch.found", lambda self, *_, **__: []),
    "journal": ("addons.recorder.Recorder.ends", lambda self, jobs: self._say(job="done")),
    "rows": ("addons.answering.Answering._close", lambda self, flow, run, outcome: None),
}


@pytest.mark.parametrize("kind", _BROKEN)
@pytest.mark.parametrize("protocol", PATHS)
def test_a_chain_that_breaks_a_sentence_is_found_out(
    protocol: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = "input" if protocol == "responses" else "messages"
    phrase = "the heron file" if kind == "refused" else "It is CUST-400001."
    body = json.dumps({"model": "m-chat", field: [{"role": "user", "content": phrase}]})
    case = Case((Exchange(body.encode(), PATHS[protocol]),))
    assert not check(case) and recall(remember(case)) == case
    monkeypatch.setattr(*_BROKEN[kind])
    assert kind in {one.kind for one in check(case)}
