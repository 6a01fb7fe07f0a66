"""The real Codex where the chain keeps state for it: over WebSocket, and when it compacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shim.codex.home import PROVIDER
from shim.record.summary import decisions
from tests.e2e.answers import (
    SSE,
    by_outputs,
    chat_chunk,
    chat_text,
    chat_tool,
    json_answer,
    sse,
)
from tests.e2e.chain import Chain
from tests.e2e.clients import run_codex
from tests.e2e.upstreams import Answer, Seen, Upstream

POLICY = """
websocket: true
providers: {{up: {{base_url: "{url}/v1"}}}}
models: {{test-model: {{provider: up}}}}
default: test-model
"""


def test_a_tool_loop_over_websocket(tmp_path: Path) -> None:
    steps = [chat_tool("exec_command", {"cmd": "echo over the socket"}), chat_text("All done.")]
    config = {f"model_providers.{PROVIDER}.supports_websockets": "true"}
    with Upstream(by_outputs(steps)) as upstream:
        with Chain(policy=POLICY.format(url=upstream.url)) as chain:
            run = run_codex(chain.url, "Do it.", tmp_path, config=config)
            log = chain.log()
    assert run.exit_code == 0, run.explain()
    assert run.final_text == "All done." and not run.visible
    assert "Traceback" not in log
    assert "· WebSocket" in log
    first, second = (post.json()["messages"] for post in upstream.posts())
    # Codex sends only what is new; the upstream gets the whole conversation.
    assert second[: len(first)] == first
    assert "over the socket" in second[-1]["content"]


def test_compaction_as_codex_has_it_with_openai(tmp_path: Path) -> None:
    """A provider called OpenAI is asked by a trigger, and its item comes back (section 7)."""
    usage = {"prompt_tokens": 90_000, "completion_tokens": 10, "total_tokens": 90_010}

    def script(seen: Seen) -> Answer:
        asked = seen.json()
        if not asked["stream"]:
            message = {"role": "assistant", "content": "the cat is called Tom"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return json_answer(200, {"id": "s", "object": "chat.completion", "choices": [choice]})
        if "Tom" in json.dumps(asked["messages"]):
            return chat_text("It is Tom.")
        answer = chat_tool("exec_command", {"cmd": "echo looking"})
        full: dict[str, Any] = {**chat_chunk({}), "choices": [], "usage": usage}
        return Answer(200, SSE, [*answer.chunks[:-2], *sse([full])])

    config = {
        f"model_providers.{PROVIDER}.name": '"OpenAI"',
        "model_auto_compact_token_limit": "50000",
    }
    with Upstream(script) as upstream, Chain(upstream.url, options={"upstream": "chat"}) as chain:
        run = run_codex(chain.url, "What is the cat called?", tmp_path, config=config)
        rows = chain.get("/health?exchanges=1").json()["exchanges"]
    assert run.exit_code == 0, run.explain()
    assert run.final_text == "It is Tom."
    assert any("compaction" in d for row in rows for d in decisions(row))
    last = upstream.posts()[-1].json()["messages"]
    assert any("the cat is called Tom" in str(m["content"]) for m in last)
