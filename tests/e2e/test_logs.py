"""What the real Codex logs, read back, are the requests that it sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shim.codex.home import PROVIDER
from shim.logs import find_logs, read_log
from tests.e2e.answers import SSE, responses_items, sse
from tests.e2e.clients import CODEX, OLD_CODEX, run_codex
from tests.e2e.upstreams import Answer, Seen, Upstream

VERSIONS = [CODEX, pytest.param(OLD_CODEX, marks=pytest.mark.full)]


def answer(id: str, tokens: int, *items: dict[str, Any]) -> Answer:
    """An answer of these items, whose request had so many tokens."""
    plain = responses_items(items, id)
    last = json.loads(plain.chunks[-1].decode().removeprefix("data: "))
    last["response"]["usage"] |= {"input_tokens": tokens, "total_tokens": tokens + 3}
    return Answer(200, SSE, [*plain.chunks[:-1], *sse([last], done=False)])


def says(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "id": "msg_1", "content": [part]}


def calls(id: str) -> dict[str, Any]:
    told = {"name": "exec_command", "arguments": json.dumps({"cmd": f"echo {id}"})}
    return {"type": "function_call", "id": f"fc_{id}", "call_id": f"call_{id}", **told}


def script(seen: Seen) -> Answer:
    """Two parallel calls, one that fills the context, a summary, and the end."""
    asked = seen.json()["input"]
    if asked[-1]["type"] == "compaction_trigger":
        return answer("s", 500, {"type": "compaction", "id": "cmp_1", "encrypted_content": "zip"})
    whole = json.dumps(asked)
    if "CHECKPOINT" in json.dumps(asked[-1]):
        return answer("s", 500, says("A SUMMARY."))
    if "A SUMMARY" in whole or "cmp_1" in whole:
        return answer("d", 60, says("Done."))
    if "call_b" in whole:
        return answer("c", 90_000, calls("c"))
    summary = [{"type": "summary_text", "text": "Hm."}]
    thought = {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "x"}
    return answer("a", 100, thought, says("I look."), calls("a"), calls("b"))


def plain(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items without ids that are made as they are sent, and without what is Codex's own."""
    own = "internal_chat_message_metadata_passthrough"
    told = [{k: v for k, v in item.items() if k != own} for item in items]
    return [{k: v for k, v in i.items() if k != "id" or i.get("role") != "developer"} for i in told]


@pytest.mark.parametrize("name", ["Interpose", "OpenAI"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_rollout_tells_every_request(version: str, name: str, tmp_path: Path) -> None:
    if (version, name) == (OLD_CODEX, "OpenAI"):
        pytest.skip("it has another endpoint for compaction, which the script does not answer")
    config = {
        "model_auto_compact_token_limit": "50000",
        f"model_providers.{PROVIDER}.name": f'"{name}"',
    }
    home = tmp_path / "home"
    home.mkdir()
    with Upstream(script) as upstream:
        url = f"{upstream.url}/v1"
        run = run_codex(url, "Go.", tmp_path / "work", version=version, config=config, home=home)
    assert run.final_text == "Done.", run.explain()
    (log,) = find_logs([home / "codex-home" / "sessions"])
    (session,) = read_log(log)
    sent = [post.json() for post in upstream.posts()]
    told = [json.loads(turn.body) for turn in session.turns]
    assert [body["model"] for body in told] == ["test-model"] * 4
    assert [body.get("instructions") for body in told] == [s.get("instructions") for s in sent]
    if name != "OpenAI":
        assert "CHECKPOINT" in json.dumps(sent[2]["input"].pop())
        assert len(session.notes) == 1
    assert [plain(body["input"]) for body in told] == [plain(body["input"]) for body in sent]
    assert [turn.usage and turn.usage.input for turn in session.turns] == [100, 90_000, 500, 60]
    times = [turn.when or 0 for turn in session.turns]
    assert times == sorted(times) and times[0] > 0
