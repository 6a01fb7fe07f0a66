"""A stage that breaks lets no turn through: mitmproxy would go on with the request as it came."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from mitmproxy import http

from tests.addons.test_chain import TURN, Stages, error, stages

__all__ = ["stages"]


@pytest.mark.parametrize("broken", [0, 2, 3, 5, 6, 7])
def test_a_stage_that_breaks_lets_no_turn_through(stages: Stages, broken: int) -> None:
    def breaks(subject: http.HTTPFlow) -> None:
        raise RuntimeError("oops")

    subject = stages.flow(TURN)
    for at, stage in enumerate(stages.all):
        hook = breaks if at == broken else getattr(stage, "request", None)
        with contextlib.suppress(RuntimeError):
            if hook and asyncio.iscoroutine(result := hook(subject)):
                stages.loop.run_until_complete(result)
    assert error(subject)[0] == 500
