"""The real OpenCode works through the chain in each of the three protocols it can ask in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.brains import PATHS, speak
from tests.clients.run import opencode_run
from tests.clients.thoughts import kept, thoughts
from tests.clients.work import REPORT, assert_fixed, policy, worker
from tests.e2e.chain import Chain
from tests.e2e.upstreams import Upstream

PAIRS = [(a, b) for a in PATHS for b in PATHS if a != b]


@pytest.mark.parametrize(("asks", "speaks"), PAIRS)
def test_reads_edits_and_runs(asks: str, speaks: str, project: Path) -> None:
    with Upstream(speak(speaks, worker("opencode", project))) as upstream:
        with Chain(policy=policy(upstream.url, speaks)) as chain:
            run = opencode_run(chain.origin, asks, project)
            log = chain.log()
    assert run.exit_code == 0, run.explain() + log
    parts = [event["part"] for event in run.events()]
    calls = [part for part in parts if part["type"] == "tool"]
    assert [call["tool"] for call in calls] == ["read", "edit", "bash"], run.explain()
    assert {call["state"]["status"] for call in calls} == {"completed"}
    assert [part["text"] for part in parts if part["type"] == "text"][-1] == REPORT
    ends = [part for part in parts if part["type"] == "step-finish"]
    assert [end["reason"] for end in ends] == ["tool-calls"] * 3 + ["stop"], run.explain()
    assert {(end["tokens"]["input"], end["tokens"]["output"]) for end in ends} == {(7, 3)}
    assert_fixed(project)
    assert {post.path for post in upstream.posts()} == {f"/v1{PATHS[speaks]}"}


@pytest.mark.parametrize(("asks", "speaks"), [pair for pair in PAIRS if pair[0] != "chat"])
def test_reasoning_comes_back_to_the_model_that_thought_it(
    asks: str, speaks: str, project: Path
) -> None:
    with Upstream(speak(speaks, worker("opencode", project, speaks))) as upstream:
        with Chain(policy=policy(upstream.url, speaks)) as chain:
            run = opencode_run(chain.origin, asks, project, reasoning=True)
    assert run.exit_code == 0 and REPORT in run.stdout, run.explain()
    last = upstream.posts()[-1].json()
    assert kept(speaks, last) == [thoughts(speaks, step) for step in range(3)]
