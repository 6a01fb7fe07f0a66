"""The real Codex works through the chain: tool loops with three kinds of upstream."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.aimock import Aimock
from tests.e2e.answers import (
    FIXTURES,
    by_outputs,
    chat_text,
    chat_tool,
    recorded,
    responses_text,
)
from tests.e2e.chain import Chain
from tests.e2e.clients import CODEX, KEY, OLD_CODEX, CodexRun, run_codex
from tests.e2e.listening import beyond_loopback, listening
from tests.e2e.tap import Tap
from tests.e2e.upstreams import Upstream

VERSIONS = [CODEX, pytest.param(OLD_CODEX, marks=pytest.mark.full)]

PATCH = """*** Begin Patch
*** Update File: notes.txt
@@
-the old line
+the new line
*** End Patch"""

LOOK_PATCH_DONE = [
    chat_tool("exec_command", {"cmd": "cat notes.txt"}, "call_look"),
    chat_tool("apply_patch", {"input": PATCH}, "call_patch"),
    chat_text("The notes are up to date."),
]


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "notes.txt").write_text("the old line\n")
    return folder


def assert_looked_and_patched(run: CodexRun, workdir: Path) -> None:
    assert run.exit_code == 0, run.explain()
    assert [item["type"] for item in run.items] == [
        "command_execution",
        "file_change",
        "agent_message",
    ], run.explain()
    assert run.items[0]["aggregated_output"] == "the old line\n"
    assert run.final_text == "The notes are up to date."
    assert (workdir / "notes.txt").read_text() == "the new line\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_scripted_chat_model_without_policy(version: str, workdir: Path) -> None:
    """`--set upstream=chat` alone is enough, and the client's own key goes to the target."""
    with Upstream(by_outputs(LOOK_PATCH_DONE)) as upstream:
        with Chain(upstream.url, options={"upstream": "chat"}) as chain:
            run = run_codex(chain.url, "Update the notes.", workdir, version=version)
    assert_looked_and_patched(run, workdir)
    posts = upstream.posts()
    assert [post.path for post in posts] == ["/v1/chat/completions"] * 3
    assert {post.headers["authorization"] for post in posts} == {f"Bearer {KEY}"}
    look, patch = (m for m in posts[2].json()["messages"] if m["role"] == "tool")
    assert (look["tool_call_id"], patch["tool_call_id"]) == ("call_look", "call_patch")
    assert "the old line" in look["content"]


def test_scripted_chat_model_through_mitmweb(workdir: Path) -> None:
    with Upstream(by_outputs(LOOK_PATCH_DONE)) as upstream:
        with Chain(upstream.url, options={"upstream": "chat"}, tool="mitmweb") as chain:
            run = run_codex(chain.url, "Update the notes.", workdir)
            assert "Traceback" not in chain.log()
    assert_looked_and_patched(run, workdir)


def test_nothing_of_codex_itself_reaches_a_third_party(workdir: Path) -> None:
    with Upstream([chat_text("hello")]) as upstream:
        with Chain(upstream.url, options={"upstream": "chat"}) as chain:
            run = run_codex(chain.url, "Say hello.", workdir)
    assert run.final_text == "hello", run.explain()
    (post,) = upstream.posts()
    assert not [name for name in post.headers if name.lower().startswith(("x-codex", "session-"))]
    assert "client_metadata" not in post.json()
    assert b"installation" not in post.body


def test_conversation_prefix_is_stable(workdir: Path) -> None:
    """What the provider was sent in one request stands unchanged at the head of the next."""
    with Upstream(by_outputs(LOOK_PATCH_DONE)) as upstream:
        with Chain(upstream.url, options={"upstream": "chat"}) as chain:
            run_codex(chain.url, "Update the notes.", workdir)
    sent = [post.json() for post in upstream.posts()]
    assert len(sent) == 3
    for earlier, later in pairwise(sent):
        assert later["messages"][: len(earlier["messages"])] == earlier["messages"]
        assert later["tools"] == earlier["tools"]


def bug_with_test(folder: Path) -> None:
    """A git repository with one wrong operator and a test that says so."""
    folder.mkdir()
    (folder / "prices.py").write_text(
        '"""Prices."""\n\n\ndef total(price, count):\n    return price + count\n'
    )
    (folder / "test_prices.py").write_text(
        "import unittest\n\nfrom prices import total\n\n\n"
        "class Total(unittest.TestCase):\n    def test_total(self):\n"
        "        self.assertEqual(total(3, 4), 12)\n\n\n"
        'if __name__ == "__main__":\n    unittest.main()\n'
    )
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
        subprocess.run([*git, *command], cwd=folder, check=True, timeout=30)


@pytest.mark.parametrize("version", VERSIONS)
def test_demo_model(version: str, tmp_path: Path) -> None:
    """The offline model fixes a bug by Codex's own tools."""
    folder = tmp_path / "repo"
    bug_with_test(folder)
    policy = "models: {demo: {provider: demo}}\ndefault: demo\n"
    with Chain(policy=policy) as chain:
        run = run_codex(
            chain.url, "The test fails. Fix the bug.", folder, version=version, model="demo"
        )
        log = chain.log()
        # The model's own server is nobody else's business.
        assert len(listening(chain.pid)) == 2
        assert not beyond_loopback(chain.pid)
    assert run.exit_code == 0, run.explain() + log
    kinds = [item["type"] for item in run.items]
    assert "file_change" in kinds and "command_execution" in kinds, run.explain()
    assert "price * count" in (folder / "prices.py").read_text(), run.explain()
    again = [sys.executable, "-m", "unittest", "-q", "test_prices"]
    assert subprocess.run(again, cwd=folder, capture_output=True, timeout=30).returncode == 0


@pytest.fixture(scope="module")
def aimock() -> Iterator[Aimock]:
    def turn(match: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
        return {"match": {"userMessage": "Update the notes", **match}, "response": response}

    def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"toolCalls": [{"name": name, "arguments": json.dumps(arguments)}]}

    fixtures = [
        turn({"hasToolResult": False}, call("exec_command", {"cmd": "cat notes.txt"})),
        turn({"toolResultContains": "the old line"}, call("apply_patch", {"input": PATCH})),
        turn({"toolResultContains": "notes.txt"}, {"content": "The notes are up to date."}),
    ]
    with Aimock(fixtures) as running:
        yield running


@pytest.mark.parametrize("version", VERSIONS)
def test_aimock(version: str, aimock: Aimock, workdir: Path) -> None:
    """An independent implementation of the chat protocol, reached through a policy."""
    policy = f"""
providers:
  aimock: {{ base_url: "{aimock.url}/v1", protocol: chat, key: "${{AIMOCK_KEY}}" }}
models:
  test-model: {{ provider: aimock, model: mock-1 }}
"""
    with Chain(policy=policy, env={"AIMOCK_KEY": "sk-for-aimock"}) as chain:
        run = run_codex(chain.url, "Update the notes.", workdir, version=version)
    assert_looked_and_patched(run, workdir)
    asked = [e for e in aimock.journal() if e["path"] == "/v1/chat/completions"][-3:]
    assert {entry["body"]["model"] for entry in asked} == {"mock-1"}
    assert KEY not in json.dumps(asked), "the client's key went to a provider of the policy"


needs_fixtures = pytest.mark.skipif(
    not FIXTURES.is_dir(), reason="recorded provider streams are not beside this checkout"
)

RECORDED = [
    # file, its tool, words of the thinking before the call that go back with the next request
    ("deepseek-chat__reasoning-tool-call.chunks.txt", "weather", "The user is asking"),
    ("mistral-chat__tool-call-no-index-with-finish.chunks.txt", "weather", ""),
    ("kimi-openrouter-chat__tool-variant-a.sse", "llm_version", ""),
]


@needs_fixtures
@pytest.mark.parametrize(("file", "tool", "thinking"), RECORDED)
def test_recorded_stream(file: str, tool: str, thinking: str, workdir: Path) -> None:
    """A provider's own recorded stream calls a tool, here under the name of one Codex offers: it
    answers that the arguments are wrong, and the second request gives the provider the call, that
    answer and its own reasoning."""
    stream = recorded(file)
    offered = [piece.replace(tool.encode(), b"exec_command") for piece in stream.chunks]
    steps = [replace(stream, chunks=offered), recorded("moonshot-kimi-chat__reasoning.chunks.txt")]
    with Upstream(by_outputs(steps)) as upstream:
        with Chain(upstream.url, options={"upstream": "chat"}) as chain:
            run = run_codex(chain.url, "What is the weather?", workdir)
    assert run.exit_code == 0, run.explain()
    assert run.final_text == "Hello!", run.explain()
    first, second = upstream.posts()
    new = second.json()["messages"][len(first.json()["messages"]) :]
    assert [message["role"] for message in new] == ["assistant", "tool"]
    (call,) = new[0]["tool_calls"]
    assert call["function"]["name"] == "exec_command"
    json.loads(call["function"]["arguments"])
    assert new[1]["tool_call_id"] == call["id"]
    assert "cmd" in new[1]["content"]
    if thinking:
        assert thinking in new[0]["reasoning_content"]


def test_responses_upstream_gets_and_gives_the_same_bytes(workdir: Path) -> None:
    """Without a policy, and a target that speaks Responses, the chain changes nothing."""
    answer = responses_text("hello, exactly")
    with Upstream([answer]) as upstream, Chain(upstream.url) as chain, Tap(chain.port) as tap:
        run = run_codex(tap.url, "Say hello.", workdir)
        assert run.final_text == "hello, exactly", run.explain()
        (post,) = upstream.posts()
        assert tap.sent.endswith(post.body)
        assert post.path == "/v1/responses"
        assert post.headers["authorization"] == f"Bearer {KEY}"
        assert b"".join(_dechunk(tap.received)) == b"".join(answer.chunks)


def _dechunk(raw: bytes) -> Iterator[bytes]:
    """The pieces of the one chunked HTTP answer in `raw`; Codex hangs up before its last one."""
    rest = raw.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        yield rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]


@needs_fixtures
def test_a_call_of_a_tool_nobody_offered_is_told_and_not_made(workdir: Path) -> None:
    file, tool, _ = RECORDED[0]
    with Upstream([recorded(file)]) as upstream:
        with Chain(upstream.url, options={"upstream": "chat"}) as chain:
            run = run_codex(chain.url, "What is the weather?", workdir)
    assert run.exit_code == 0 and len(upstream.posts()) == 1, run.explain()
    assert f"called {tool}, a tool that is not offered here" in run.final_text
