"""What the real Claude Code logs, read back, are the requests that it sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shim.logs import Session, find_logs, read_log
from tests.clients.brains import Move, View, speak
from tests.clients.run import claude_code_run
from tests.e2e.upstreams import Upstream


def plain(value: Any) -> Any:
    """A request without marks for the cache, and with every text as a block."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    told = {name: plain(one) for name, one in value.items() if name != "cache_control"}
    if "role" in told and isinstance(told["content"], str):
        told["content"] = [{"type": "text", "text": told["content"]}]
    return told


def told(session: Session) -> list[Any]:
    return [plain(json.loads(turn.body)) for turn in session.turns]


def test_a_transcript_and_its_sub_agent_tell_every_request(project: Path, tmp_path: Path) -> None:
    files = [str(project / name) for name in ("prices.py", "test_prices.py")]
    part = {"description": "sub", "prompt": "PART", "subagent_type": "general-purpose"}

    def brain(view: View) -> Move:
        inside = any("PART" in said for said in view.said)
        if not view.done and inside:
            return Move("Both.", [("Read", {"file_path": file}) for file in files])
        if not view.done:
            return Move("Delegated.", [("Agent", {**part, "run_in_background": False})])
        return Move("Part done." if inside else "All done.")

    home = tmp_path / "home"
    home.mkdir()
    with Upstream(speak("messages", brain)) as upstream:
        runs = [
            claude_code_run(upstream.url, project, *more, home=home)
            for more in ((), ("--continue",))
        ]
    assert runs[1].events()[-1]["result"] == "All done.", runs[1].explain()
    sent = [plain(post.json()) for post in upstream.posts()]
    logs = find_logs([home / ".claude" / "projects"])
    sessions = {s.name: s for log in logs for s in read_log(log)}
    assert len(sessions) == 2 and all(not s.notes for s in sessions.values())
    (agent,) = (s for name, s in sessions.items() if name.startswith("agent-"))
    (main,) = (s for s in sessions.values() if s is not agent)
    for session, requests in ((main, [sent[0], *sent[3:]]), (agent, sent[1:3])):
        for body, request in zip(told(session), requests, strict=True):
            # The first line of the system prompt says what the request is billed as.
            assert body["system"] == request["system"][1:]
            assert (body["model"], body["tools"]) == (request["model"], request["tools"])
            assert body["messages"] == request["messages"]
        usage = [turn.usage and (turn.usage.input, turn.usage.output) for turn in session.turns]
        assert usage == [(7, 3)] * len(requests)
