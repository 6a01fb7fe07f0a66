"""The real Aider works through the chain: edits as text, its own commits and its own test loop."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.clients.brains import PATHS, Move, View, speak
from tests.clients.run import aider_run
from tests.clients.work import WRONG, assert_fixed, policy
from tests.e2e.chain import Chain
from tests.e2e.upstreams import Upstream

WORSE = "price - count"
BLOCK = """The operator is wrong.

prices.py
```python
<<<<<<< SEARCH
    return {old}
=======
    return {new}
>>>>>>> REPLACE
```
"""


def brain(view: View) -> Move:
    """Takes a wrong operator first, then the right one once Aider shows what the test says."""
    if "SEARCH/REPLACE" not in view.told:
        return Move("fix: the total of prices")  # the message of a commit
    said = "\n".join(view.said)
    if "-1 != 12" in said and WORSE in said:
        return Move(BLOCK.format(old=WORSE, new="price * count"))
    if WRONG in said:
        return Move(BLOCK.format(old=WRONG, new=WORSE))
    return Move("I do not see the file.")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("asks", "speaks"), [(a, b) for a in ("chat", "messages") for b in PATHS if a != b]
)
def test_edits_until_the_test_passes(asks: str, speaks: str, stream: bool, project: Path) -> None:
    with Upstream(speak(speaks, brain)) as upstream:
        with Chain(policy=policy(upstream.url, speaks)) as chain:
            run = aider_run(chain.origin, asks, project, stream=stream)
            log = chain.log()
    assert run.exit_code == 0, run.explain() + log
    assert run.stdout.count("Applied edit to prices.py") == 2, run.explain() + log
    assert_fixed(project)
    shown = ["git", "log", "--format=%s", "-n", "2"]
    subjects = subprocess.run(shown, cwd=project, capture_output=True, text=True, timeout=30)
    assert subjects.stdout.splitlines() == ["fix: the total of prices"] * 2, run.explain()
    posts = upstream.posts()
    assert {post.path for post in posts} == {f"/v1{PATHS[speaks]}"}
    # Aider streams the work, never the message of a commit.
    assert [bool(post.json().get("stream")) for post in posts] == [stream, False] * 2
