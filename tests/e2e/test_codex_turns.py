"""What turns are made of, with the real Codex: parallel calls, images, MCP tools, slow streams."""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mitmproxy.io import FlowReader
from mitmproxy.net import encoding as encodings

from addons.flowfile import row_of
from tests.e2e.answers import (
    JSON,
    SSE,
    USAGE,
    by_outputs,
    chat_chunk,
    chat_text,
    chat_tool,
    sse,
)
from tests.e2e.chain import Chain, poll
from tests.e2e.clients import CodexRun, run_codex
from tests.e2e.tap import Tap
from tests.e2e.upstreams import Answer, Script, Upstream

CHAT = {"upstream": "chat"}
MCP = Path(__file__).with_name("mcp_lab.py")
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def session(
    script: Script | list[Answer], workdir: Path, **more: Any
) -> tuple[CodexRun, list[dict[str, Any]]]:
    """One Codex run before a scripted chat upstream; the run and the bodies the upstream got."""
    with Upstream(script) as upstream, Chain(upstream.url, options=CHAT) as chain:
        run = run_codex(chain.url, "Do it.", workdir, **more)
        assert "Traceback" not in chain.log()
    assert run.exit_code == 0, run.explain()
    return run, [post.json() for post in upstream.posts()]


def tool_outputs(body: dict[str, Any]) -> list[Any]:
    return [message["content"] for message in body["messages"] if message["role"] == "tool"]


def test_parallel_calls(tmp_path: Path) -> None:
    """Two calls whose arguments come interleaved; both outputs go back, each to its call."""

    def piece(index: int, text: str) -> dict[str, Any]:
        return chat_chunk({"tool_calls": [{"index": index, "function": {"arguments": text}}]})

    def head(index: int, call_id: str) -> dict[str, Any]:
        named = {"id": call_id, "type": "function", "function": {"name": "exec_command"}}
        return chat_chunk({"tool_calls": [{"index": index, **named}]})

    calls = [head(0, "call_a"), head(1, "call_b")]
    calls += [piece(0, '{"cmd": '), piece(1, '{"cmd": "ec'), piece(0, '"echo one"}')]
    calls += [piece(1, 'ho two"}'), chat_chunk({}, "tool_calls")]
    both = Answer(200, SSE, sse(calls))
    steps = [both, both, chat_text("Both done.")]
    run, asked = session(by_outputs(steps), tmp_path)
    assert run.final_text == "Both done."
    assert len(asked) == 2
    results = {m["tool_call_id"]: m["content"] for m in asked[1]["messages"] if m["role"] == "tool"}
    assert "one" in results["call_a"] and "two" in results["call_b"]


def test_image_from_a_tool(tmp_path: Path) -> None:
    """`view_image` answers with an image; the chat provider gets it in a form it takes."""
    (tmp_path / "dot.png").write_bytes(PIXEL)
    steps = [chat_tool("view_image", {"path": str(tmp_path / "dot.png")}), chat_text("A dot.")]
    run, asked = session(by_outputs(steps), tmp_path)
    assert run.final_text == "A dot."
    images = [
        part["image_url"]["url"]
        for message in asked[1]["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
    assert len(images) == 1 and images[0].startswith("data:image/png;base64,")
    # The protocol has images in user messages only.
    assert all(isinstance(output, str) for output in tool_outputs(asked[1]))


def test_namespaced_mcp_tool(tmp_path: Path) -> None:
    """An MCP tool is offered under one flat name, and its call finds the way back."""

    def script(seen: Any) -> Answer:
        body = seen.json()
        if tool_outputs(body):
            return chat_text("It answers.")
        (name,) = (t["function"]["name"] for t in body["tools"] if "echo_it" in json.dumps(t))
        return chat_tool(name, {"text": "hark"})

    config = {
        "mcp_servers.lab.command": f'"{sys.executable}"',
        "mcp_servers.lab.args": f'["{MCP}"]',
    }
    run, asked = session(script, tmp_path, config=config)
    assert run.final_text == "It answers."
    assert [item["type"] for item in run.items] == ["mcp_tool_call", "agent_message"]
    (output,) = tool_outputs(asked[1])
    assert "echo: hark" in output


def test_answer_cut_by_the_token_limit_is_kept(tmp_path: Path) -> None:
    """`finish_reason: length` must not throw away what was said, nor repeat the request."""
    cut = [chat_chunk({"content": "As far as I "}), chat_chunk({"content": "got"}, "length")]
    run, asked = session([Answer(200, SSE, sse(cut))], tmp_path)
    assert run.final_text == "As far as I got"
    assert len(asked) == 1


def test_provider_that_does_not_stream(tmp_path: Path) -> None:
    """A whole JSON completion in answer to `stream: true` is an answer all the same."""
    message = {"role": "assistant", "content": "All at once."}
    whole = {
        "id": "c1",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": USAGE,
    }
    run, asked = session([Answer(200, JSON, [json.dumps(whole).encode()])], tmp_path)
    assert run.final_text == "All at once."
    assert len(asked) == 1


@pytest.mark.full
def test_comments_keep_a_slow_answer_alive(tmp_path: Path) -> None:
    """A provider that only sends SSE comments while it thinks; Codex itself would give up."""

    def thinking() -> Iterator[bytes]:
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            yield b": OPENROUTER PROCESSING\n\n"
            time.sleep(0.25)
        yield from chat_text("Thought about it.").chunks

    idle = {"model_providers.interpose.stream_idle_timeout_ms": "1000"}
    run, asked = session([Answer(200, SSE, live=thinking)], tmp_path, config=idle)
    assert run.final_text == "Thought about it."
    assert len(asked) == 1


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_compressed_answer(tmp_path: Path, encoding: str) -> None:
    """Codex does not decode content-encoding, so what reaches it must be plain."""
    plain = b"".join(chat_text("Unpacked.").chunks)
    packed = encodings.encode(plain, encoding)
    assert isinstance(packed, bytes)
    half = len(packed) // 2
    headers = {**SSE, "content-encoding": encoding}
    run, asked = session([Answer(200, headers, [packed[:half], packed[half:]])], tmp_path)
    assert run.final_text == "Unpacked."
    assert len(asked) == 1


def test_first_delta_arrives_while_the_upstream_still_writes() -> None:
    """Nothing is held back until the end."""
    go_on = threading.Event()

    def live() -> Iterator[bytes]:
        deltas = [chat_chunk({"content": "early"}), chat_chunk({"content": " late"}, "stop")]
        first, *rest = sse(deltas)
        yield first
        if go_on.wait(10):
            yield from rest

    with Upstream([Answer(200, SSE, live=live)]) as upstream:
        with Chain(upstream.url, options=CHAT) as chain, Tap(chain.port) as tap:
            ask = {"model": "m", "input": "hello", "stream": True}
            done: list[bytes] = []
            client = threading.Thread(target=lambda: done.append(read_all(tap.url, ask)))
            client.start()
            deadline = time.monotonic() + 8
            while b'"early"' not in tap.received and time.monotonic() < deadline:
                time.sleep(0.01)
            seen = tap.received
            go_on.set()
            client.join(10)
    assert b'"early"' in seen
    assert b"late" not in seen
    assert b"response.completed" in done[0]


def read_all(url: str, ask: dict[str, Any]) -> bytes:
    return httpx.post(f"{url}/responses", json=ask, timeout=20, trust_env=False).content


def test_upstream_that_dies_within_a_session(tmp_path: Path) -> None:
    """It answered a moment ago, so nobody looks whether it is there: still a readable error."""
    first = chat_tool("exec_command", {"cmd": "true"})
    closing = Answer(200, {**SSE, "connection": "close"}, first.chunks)
    with Upstream([closing]) as upstream, Chain(upstream.url, options=CHAT) as chain:
        with Tap(chain.port) as tap:
            upstream.stop_listening_after(1)
            run = run_codex(tap.url, "Do it.", tmp_path)
            asked = tap.requests
    assert run.exit_code == 1, run.explain()
    assert "reverse:" in run.failure and "onnect" in run.failure, run.explain()
    assert asked <= 3, run.explain()


def test_client_that_goes_away(tmp_path: Path) -> None:
    """The upstream is let go at once, the exchange is recorded, and the chain goes on."""
    broke = threading.Event()

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield sse([chat_chunk({"content": "more "})], done=False)[0]
                time.sleep(0.02)
        except GeneratorExit:
            broke.set()
            raise

    with Upstream([Answer(200, SSE, live=endless), chat_text("Still here.")]) as upstream:
        with Chain(upstream.url, options=CHAT) as chain:
            ask = {"model": "m", "input": "hello", "stream": True}
            with httpx.stream("POST", f"{chain.url}/responses", json=ask, trust_env=False) as got:
                next(got.iter_bytes())
            assert broke.wait(10), "the upstream still writes"
            answer = chain.post("/v1/responses", json={"model": "m", "input": "again"})
            assert answer.status_code == 200
            poll(lambda: len(legs(chain.record_dir)) == 4, what="both exchanges on disk")
            assert "Traceback" not in chain.log()


def legs(folder: Path) -> list[dict[str, Any]]:
    """The rows of all recorded flows."""
    found = []
    for file in folder.glob("*.flow"):
        with file.open("rb") as stream:
            found += [row_of(flow) for flow in FlowReader(stream).stream()]
    return found
