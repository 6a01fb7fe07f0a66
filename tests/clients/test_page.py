"""docs/clients.md: what the runs of the clients do not already prove of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.clients import installed
from tests.clients.brains import Move, View, speak
from tests.clients.page import ORIGIN, PAGE, block, block_rows
from tests.clients.run import claude_code_run
from tests.clients.work import policy
from tests.e2e.chain import Chain
from tests.e2e.upstreams import Upstream


def hello(view: View) -> Move:
    return Move("Hello yourself.")


@pytest.mark.parametrize("number", [0, 1], ids=["openai", "anthropic"])
def test_the_sdk_snippets_run(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERPOSE_KEY", "any")
    code = block("SDKs", "python", number)
    with Upstream(speak("chat", hello)) as upstream:
        with Chain(policy=policy(upstream.url, "chat")) as chain:
            exec(code.replace(ORIGIN, chain.origin), {})
    assert len(upstream.posts("Hello")) == code.count(".create(")


def test_the_versions_are_the_tested_ones() -> None:
    text = PAGE.read_text("utf-8")
    for name in (
        f"Claude Code {installed.CLAUDE_CODE}",
        f"OpenCode {installed.OPENCODE}",
        f"Aider {installed.AIDER}",
    ):
        assert name in text


def test_every_variable_of_claude_code_is_one_it_reads() -> None:
    rows = re.findall(r"^\| `(\w+)", block_rows("Claude Code"), re.M)
    assert len(rows) == 6
    program = installed.claude_code().resolve().read_bytes()
    for name in rows:
        assert name.encode() in program, f"Claude Code knows no {name}"


def test_the_variables_that_keep_claude_code_modest(project: Path) -> None:
    with Upstream(speak("messages", hello)) as upstream:
        with Chain(policy=policy(upstream.url, "messages")) as chain:
            run = claude_code_run(chain.origin, project)
    (post,) = (post.json() for post in upstream.posts())
    assert post["max_tokens"] == 16_000
    (used,) = run.events()[-1]["modelUsage"].values()
    assert used["contextWindow"] == 128_000
