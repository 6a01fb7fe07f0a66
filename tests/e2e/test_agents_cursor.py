"""A stand-in for Cursor's agent behind the chain: as a model, failing, and what is left of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.agents import Agents
from tests.e2e.chain import poll
from tests.e2e.clients import run_codex

POLICY = """
models:
  demo: { provider: demo }
  composer-2-5: { provider: cursor, model: composer-2.5 }
providers:
  paid: { base_url: "http://127.0.0.1:9/v1", protocol: chat, key: "${PAID_KEY}" }
agents:
  cursor:
    use: cursor
    env: { OWN_KEY: "${CURSORS_KEY}" }
default: demo
"""
KEYS = {"PAID_KEY": "paid-9f8e7d6c5b4a", "CURSORS_KEY": "cursors-1a2b3c4d5e6f"}


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    with Agents(tmp_path, POLICY, KEYS) as chain:
        (tmp_path / "state" / "login").touch()
        yield chain
    assert not chain.processes() and not chain.leftovers()


def test_a_conversation(agents: Agents) -> None:
    session = {"x-session-id": "mine"}
    assert agents.said("one", "composer-2-5", headers=session) == "Told 1 times, ha ha: one"
    assert agents.said("tool two", headers=session) == (
        "I look first.\n\nTold 2 times, ha ha: tool two"
    )
    # The same session by another of its names, and by another protocol.
    body = {"model": "cursor", "input": "three", "session_id": "mine"}
    answer = agents.post("/v1/responses", json=body).json()
    assert answer["output"][-1]["content"][0]["text"] == "Told 3 times, ha ha: three"
    assert agents.said("other", headers={"x-session-id": "yours"}).startswith("Told 1 ")
    assert {"cursor", "cursor:composer-2.5", "composer-2-5"} <= agents.models()
    begun = [note for note in agents.notes() if "begins" in note]
    assert begun[0]["words"][-2:] == ["--model", "composer-2.5"]
    assert "--force" not in begun[0]["words"] and "ask" in begun[0]["words"]
    assert {note["cwd"] for note in begun} == {str(agents.place / "interpose/agents/cursor")}
    # What it knows already is not told again.
    assert begun[1]["begins"] == "tool two"
    assert "PAID_KEY" not in begun[0]["env"] and begun[0]["env"]["OWN_KEY"] == KEYS["CURSORS_KEY"]


def test_streams_what_it_does(agents: Agents) -> None:
    body = {"model": "cursor", "stream": True, "messages": [{"role": "user", "content": "tool"}]}
    with httpx.stream(
        "POST", f"{agents.url}/chat/completions", json=body, trust_env=False, timeout=60
    ) as answer:
        text = "".join(answer.iter_text())
    assert '"reasoning_content":"Hm. "' in text and "lsToolCall" in text
    assert text.count("look ") == 1 and text.count('"ha "') == 1
    assert text.index("look ") < text.index("lsToolCall") < text.index("Told ")


def test_not_logged_in(tmp_path: Path) -> None:
    with Agents(tmp_path, POLICY, KEYS) as chain:
        assert chain.models() == {"demo"}
        assert chain.refused("hi") == (503, "log in with `cursor-agent login`")
        # Others are there all the while.
        assert chain.said("hi", "demo")


def test_failures_are_readable(agents: Agents) -> None:
    status, said = agents.refused("crash")
    assert status == 424 and said.endswith(
        "ended with code 3: Error: no more credits, key [redacted], [redacted]"
    ), said
    assert agents.refused("garbage")[1].endswith("Usage limit reached")
    assert agents.refused("endless")[1].endswith("printed a line of more than 16 MB")
    assert agents.refused("hi", "cursor:gpt-1")[0] == 404
    assert agents.said("well") == "Told 1 times, ha ha: well"


def test_codex_as_the_client(agents: Agents) -> None:
    """It reads the agent's words, and why one failed, once."""
    run = run_codex(agents.url, "hello", agents.place / "work", model="cursor")
    assert run.final_text.startswith("Told 1 times") and run.final_text.endswith("hello")
    run = run_codex(agents.url, "crash", agents.place / "work", model="cursor")
    assert "cursor-agent ended with code 3: Error: no more credits" in run.failure, run.explain()
    assert "sk-proj" not in run.visible
    assert len([note for note in agents.notes() if "begins" in note]) == 2


def hangs(agents: Agents) -> int:
    """The agent's process once it does not hear any more."""
    note = poll(lambda: [n for n in agents.notes() if "hangs" in n], 20, "the agent hangs")
    return int(note[-1]["pid"])


@pytest.mark.full
def test_a_client_that_leaves_ends_the_turn(agents: Agents) -> None:
    with pytest.raises(httpx.ReadTimeout):
        agents.ask("hang", timeout=4)
    hangs(agents)
    poll(lambda: not agents.processes(), 20, "the agent and what it started are gone")
    poll(lambda: not agents.leftovers(), 5, "its files are gone")


def test_killed_in_the_middle_of_a_turn(agents: Agents) -> None:
    session = {"x-session-id": "s"}
    assert agents.said("one", headers=session)
    with ThreadPoolExecutor() as pool:
        turn = pool.submit(agents.refused, "hang", headers=session)
        os.kill(hangs(agents), signal.SIGKILL)
        status, said = turn.result(30)
    assert (status, said.partition("cursor-agent ")[2]) == (424, "was ended by SIGKILL")
    poll(lambda: not agents.processes(), 10, "what it started is gone")
    assert agents.said("two", headers=session) == "Told 2 times, ha ha: two"


@pytest.mark.full
def test_the_chain_is_killed(tmp_path: Path) -> None:
    with Agents(tmp_path, POLICY, KEYS) as chain, ThreadPoolExecutor() as pool:
        (tmp_path / "state" / "login").touch()
        turn = pool.submit(chain.ask, "hang")
        hangs(chain)
        assert chain.processes()
        os.kill(chain.pid, signal.SIGKILL)
        assert turn.exception(20)
        poll(lambda: not chain.processes(), 20, "no agent outlives the chain")


def test_a_session_that_is_gone_is_begun_anew(agents: Agents) -> None:
    session = {"x-session-id": "s"}
    agents.said("one", headers=session)
    for kept in (agents.place / "state" / "sessions").iterdir():
        kept.unlink()
    messages = [("user", "one"), ("assistant", "Told"), ("user", "two")]
    body = {"model": "cursor", "messages": [{"role": r, "content": c} for r, c in messages]}
    answer = agents.post("/v1/chat/completions", json=body, headers=session).json()
    said = answer["choices"][0]["message"]["content"]
    assert said.startswith("Told 1 times") and "User: one" in said and "User: two" in said


def test_a_policy_that_changes_while_a_turn_runs(agents: Agents) -> None:
    with ThreadPoolExecutor() as pool:
        turn = pool.submit(agents.said, "wait")
        poll(lambda: [n for n in agents.notes() if "begins" in n], 20, "the turn runs")
        agents.policy_file.write_text(POLICY.partition("agents:")[0].replace(
            "  composer-2-5: { provider: cursor, model: composer-2.5 }\n", "") + "default: demo\n")
        poll(lambda: agents.models() == {"demo"}, 20, "the agent is no more")
        (agents.place / "state" / "go").touch()
        assert turn.result(20) == "Told 1 times, ha ha: wait"
