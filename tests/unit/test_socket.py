"""Who may open a WebSocket: the policy's word, and the guard of the engine server."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from shim.engines.app import engine_app
from shim.engines.server import TICKET, EngineServer
from shim.policy.load import PolicyError, parse_policy


def test_the_policys_word() -> None:
    assert parse_policy("websocket: true").websocket
    assert not parse_policy("").websocket
    with pytest.raises(PolicyError, match="p:2:1: websocket: must be true or false, is text"):
        parse_policy("\nwebsocket: 'on'", "p")
    with pytest.raises(PolicyError, match="did you mean websocket"):
        parse_policy("websockets: true")


def test_only_the_chain_may_open_one() -> None:
    server = EngineServer()
    headers = {"authorization": "Bearer sk-client", "host": "chain"}
    server.aim_socket(headers, "http://127.0.0.1:1/v1/responses")
    assert "sk-client" not in str(headers), "the proxy's flows are seen"
    client = TestClient(engine_app({headers["host"]}, server.secret, 0, sockets=server.sockets))
    wrong = [{**headers, "authorization": "Bearer x"}, {**headers, "host": "evil.example"}]
    wrong += [{**headers, TICKET: "another"}, {k: v for k, v in headers.items() if k != TICKET}]
    for refused in wrong:
        with pytest.raises(WebSocketDisconnect):
            with client.websocket_connect("/responses", headers=refused):
                pass
    with client.websocket_connect("/responses", headers=headers) as opened:
        opened.send_text("{}")
        assert "response.create" in opened.receive_json()["error"]["message"]
    with pytest.raises(WebSocketDisconnect):
        with client.websocket_connect("/responses", headers=headers):
            pass


def test_what_cannot_be_reached_is_said() -> None:
    headers: dict[str, str] = {}
    server = EngineServer()
    server.aim_socket(headers, "http://127.0.0.1:9/v1/responses")
    client = TestClient(engine_app({headers["host"]}, server.secret, 0, sockets=server.sockets))
    with client.websocket_connect("/responses", headers=headers) as opened:
        opened.send_json({"type": "response.create", "model": "m", "input": "hi"})
        said = opened.receive_json()
    assert said["type"] == "error" and said["status"] == 502
