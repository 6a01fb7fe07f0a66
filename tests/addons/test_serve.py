"""Live replay as a stage: every protocol, and nothing that could reach an upstream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mitmproxy import connection, ctx, exceptions
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from addons.server_replay import ServerReplay
from tests.addons.harness import ANSWER, Stages, stages, with_policy

__all__ = ["stages"]

FLOWS = Path(__file__).resolve().parents[2] / "flows"
PATHS: dict[str, dict[str, Any]] = {
    "/v1/responses": {"model": "m", "stream": True, "input": "hi"},
    "/v1/chat/completions": {
        "model": "m",
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
    },
    "/v1/messages": {
        "model": "m",
        "max_tokens": 9,
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
    },
}


def serve(stages: Stages, file: Path) -> ServerReplay:
    stage: ServerReplay = stages.one(ServerReplay)
    ctx.options.update(replay=str(file))
    stage.configure({"replay"})
    return stage


@pytest.mark.parametrize("path", PATHS)
def test_the_recorded_bytes_in_every_protocol(path: str, stages: Stages, tmp_path: Path) -> None:
    with_policy(stages)
    flow = stages.send(stages.flow(PATHS[path], path))
    sent = stages.answer(flow, ANSWER, content_type="text/event-stream")
    assert stages.services.recording.settle
    stages.loop.run_until_complete(stages.services.recording.settle())  # type: ignore[arg-type]
    (file,) = tmp_path.glob("*.flow")
    asked = len(stages.asked)
    serve(stages, file)
    again = stages.send(stages.flow(PATHS[path], path))
    assert again.response and again.response.content == sent
    assert again.response.headers["content-type"].startswith("text/event-stream")
    assert not stages.run(again).sealed
    assert [note.partition(" of ")[0] for note in stages.notes(again)] == ["replay: turn 1"]
    stages.fire("response", again)
    assert stages.services.rows[-1]["route"] == {} and len(stages.asked) == asked


def test_what_is_not_recorded_is_refused(stages: Stages) -> None:
    serve(stages, FLOWS / "plain-answer.flow")
    page = stages.send(stages.flow(path="/v1/models"))
    assert page.response and page.response.status_code == 404
    assert "is not recorded" in (page.response.text or "")
    stored = stages.send(stages.flow(path="/v1/responses/resp_1"))
    assert stored.response and stored.response.status_code == 404
    health = stages.send(stages.flow(path="/health"))
    assert health.response and health.response.status_code == 200
    broken = stages.send(stages.flow({"model": "m", "input": [3]}))
    assert broken.response and broken.response.status_code == 400


def test_no_connection_can_be_made(stages: Stages) -> None:
    stage: ServerReplay = stages.one(ServerReplay)
    server = connection.Server(address=("127.0.0.1", 9))
    data = ServerConnectionHookData(server, connection.Client(peername=("", 0), sockname=("", 0)))
    stages.runner.server_connect(data)
    assert server.error is None
    serve(stages, FLOWS / "plain-answer.flow")
    stages.runner.server_connect(data)
    assert server.error == "a recording is served: nothing is connected to"
    ctx.options.update(replay="")
    stage.configure({"replay"})
    server.error = None
    stages.runner.server_connect(data)
    assert server.error is None


def test_a_running_chain_refuses_a_file_that_is_none(stages: Stages) -> None:
    stages.services.running = True
    with pytest.raises(exceptions.OptionsError, match="not a flow file"):
        serve(stages, FLOWS.parent / "README.md")
