"""A stage that breaks lets no turn through: mitmproxy would go on with the request as it came."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from mitmproxy import http

from addons.catch import Catch
from addons.compact import Compact
from addons.gate import Gate
from addons.route import Router
from addons.spend import Spend
from addons.state import State
from addons.translate import Translate
from tests.addons.test_chain import TURN, Stages, error, stages

__all__ = ["stages"]


@pytest.mark.parametrize("broken", [Gate, State, Catch, Spend, Router, Compact, Translate])
def test_a_stage_that_breaks_lets_no_turn_through(stages: Stages, broken: type) -> None:
    def breaks(subject: http.HTTPFlow) -> None:
        raise RuntimeError("oops")

    subject = stages.flow(TURN)
    for stage in stages.all:
        hook = breaks if isinstance(stage, broken) else getattr(stage, "request", None)
        with contextlib.suppress(RuntimeError):
            if hook and asyncio.iscoroutine(result := hook(subject)):
                stages.loop.run_until_complete(result)
    assert error(subject)[0] == 500


def test_what_the_gate_could_not_look_at_goes_no_further(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr(Gate, "_host_allowed", breaks)
    subject = stages.flow(TURN)
    with pytest.raises(RuntimeError):
        stages.one(Gate).requestheaders(subject)
    assert subject.response and subject.response.status_code == 500


@pytest.mark.parametrize("where", ["path", "host"])
def test_bytes_that_are_no_text_are_refused_all_the_same(stages: Stages, where: str) -> None:
    subject = stages.flow(TURN)
    if where == "path":
        subject.request.data.path = b"/v1/\xff"
    else:
        subject.request.data.headers["host"] = b"evil\xff.example"  # type: ignore[assignment]
    assert error(stages.send(subject))[0] == (404 if where == "path" else 403)
