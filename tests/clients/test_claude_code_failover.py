"""The real Claude Code follows a 307 to the next provider; its user sees nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.record.summary import decisions
from tests.clients.brains import speak
from tests.clients.run import claude_code_run
from tests.clients.work import REPORT, assert_fixed, worker
from tests.e2e.answers import error
from tests.e2e.chain import Chain
from tests.e2e.upstreams import Upstream


@pytest.mark.parametrize("status", [429, 503])
def test_goes_on_with_the_second_provider(status: int, project: Path) -> None:
    brain = speak("chat", worker("claude-code", project))
    with Upstream([error(status, "Not now.", "server_error")]) as bad, Upstream(brain) as good:
        policy = f"""
providers:
  bad: {{ base_url: "{bad.url}/v1", health: {{ failures: 1000, cooldown: 0 }} }}
  good: {{ base_url: "{good.url}/v1" }}
models:
  first: {{ provider: bad, fallbacks: [second] }}
  second: {{ provider: good, model: upstream-model }}
default: first
"""
        with Chain(policy=policy) as chain:
            run = claude_code_run(chain.origin, project)
            rows = chain.get("/health?exchanges=1").json()["exchanges"]
    assert run.exit_code == 0 and run.events()[-1]["result"] == REPORT, run.explain()
    assert_fixed(project)
    moved = [r for r in rows if any("sent on to second" in d for d in decisions(r))]
    assert len(moved) == len(bad.posts()) >= 4
    assert len(good.posts()) == len(bad.posts())
