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
