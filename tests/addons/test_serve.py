"""Live replay as a stage: every protocol, and nothing that could reach an upstream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mitmproxy import connection, ctx, exceptions
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from addons.exchange import exchange_of
from addons.served import Serve
from tests.addons.test_chain import ANSWER, Stages, stages, with_policy

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


def serve(stages: Stages, file: Path) -> Serve:
    stage: Serve = stages.one(Serve)
    ctx.options.update(replay=str(file))
    stage.configure({"replay"})
    return stage


@pytest.mark.parametrize("path", PATHS)
def test_the_recorded_bytes_in_every_protocol(path: str, stages: Stages, tmp_path: Path) -> None:
    with_policy(stages)
    flow = stages.send(stages.flow(PATHS[path], path))
    sent = stages.answer(flow, ANSWER, content_type="text/event-stream")
    assert stages.chain.settle
    stages.loop.run_until_complete(stages.chain.settle())  # type: ignore[arg-type]
    (file,) = tmp_path.glob("*.flow")
    asked = len(stages.asked)
    serve(stages, file)
    again = stages.send(stages.flow(PATHS[path], path))
    assert again.response and again.response.content == sent
    assert again.response.headers["content-type"].startswith("text/event-stream")
    exchange = exchange_of(again)
    assert exchange and exchange.route is None and exchange.upstream_request is None
    assert [d.partition(" of ")[0] for d in exchange.decisions] == ["replay: turn 1"]
    stages.fire("response", again)
    assert stages.chain.rows[-1]["route"] == {} and len(stages.asked) == asked


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
    stage: Serve = stages.one(Serve)
    server = connection.Server(address=("127.0.0.1", 9))
    data = ServerConnectionHookData(server, connection.Client(peername=("", 0), sockname=("", 0)))
    stage.server_connect(data)
    assert server.error is None
    serve(stages, FLOWS / "plain-answer.flow").server_connect(data)
    assert server.error == "a recording is served: nothing is connected to"
    ctx.options.update(replay="")
    stage.configure({"replay"})
    server.error = None
    stage.server_connect(data)
    assert server.error is None


def test_a_running_chain_refuses_a_file_that_is_none(stages: Stages) -> None:
    stages.chain.running = True
    with pytest.raises(exceptions.OptionsError, match="not a flow file"):
        serve(stages, FLOWS.parent / "README.md")
