"""The real Codex over a Messages upstream that thinks: what it thought goes back unchanged."""

from __future__ import annotations

import json
from pathlib import Path

from shim.codex.catalog import catalog
from shim.policy.load import parse_policy
from tests.clients.brains import speak
from tests.clients.thoughts import kept, thoughts
from tests.clients.work import PROMPT, REPORT, assert_fixed, policy, worker
from tests.e2e.chain import Chain
from tests.e2e.clients import run_codex
from tests.e2e.upstreams import Upstream


def test_thinking_comes_back_in_its_place(project: Path, tmp_path: Path) -> None:
    script = speak("messages", worker("codex", project, "messages"))
    with Upstream(script) as upstream:
        text = policy(upstream.url, "messages")
        models = tmp_path / "models.json"
        models.write_text(json.dumps(catalog(parse_policy(text), ["the-model"])))
        config = {"model_catalog_json": json.dumps(str(models)), "model_reasoning_effort": '"high"'}
        with Chain(policy=text) as chain:
            run = run_codex(chain.url, PROMPT, project, model="the-model", config=config)
            log = chain.log()
    assert run.exit_code == 0, run.explain() + log
    assert run.final_text == REPORT, run.explain()
    kinds = [item["type"] for item in run.items if item["type"] != "agent_message"]
    work = [kind for kind in kinds if kind != "reasoning"]
    assert work == ["command_execution", "file_change", "command_execution"], run.explain()
    assert_fixed(project)

    posts = [post.json() for post in upstream.posts()]
    assert len(posts) == 4
    for step, post in enumerate(posts):
        assert post["thinking"]["type"] == "enabled", post["thinking"]
        # Compared as text: the order of the keys is kept, too.
        sent = json.dumps([thoughts("messages", before) for before in range(step)])
        assert json.dumps(kept("messages", post)) == sent
        for message in post["messages"]:
            if message["role"] == "assistant":
                assert [block["type"] for block in message["content"][-2:]] == ["text", "tool_use"]
