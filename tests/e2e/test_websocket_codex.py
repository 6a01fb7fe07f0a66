"""The real Codex over WebSocket, through a chain whose policy serves it."""

from __future__ import annotations

from pathlib import Path

from shim.codex.home import PROVIDER
from tests.e2e.answers import by_outputs, chat_text, chat_tool
from tests.e2e.chain import Chain
from tests.e2e.clients import run_codex
from tests.e2e.upstreams import Upstream

POLICY = """
websocket: {served}
providers: {{up: {{base_url: "{url}/v1"}}}}
models: {{test-model: {{provider: up}}}}
default: test-model
"""


def test_a_tool_loop(tmp_path: Path) -> None:
    steps = [chat_tool("exec_command", {"cmd": "echo over the socket"}), chat_text("All done.")]
    config = {f"model_providers.{PROVIDER}.supports_websockets": "true"}
    with Upstream(by_outputs(steps)) as upstream:
        with Chain(policy=POLICY.format(served="true", url=upstream.url)) as chain:
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
