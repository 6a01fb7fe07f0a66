"""Responses over WebSocket through a real chain, with a client of its own made of wsproto."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, Self

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Message,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

from tests.e2e.answers import SSE, chat_chunk, chat_text, error, sse
from tests.e2e.chain import Chain, poll
from tests.e2e.upstreams import Answer, Seen, Upstream

KEY = "key-of-a-client"
POLICY = """
websocket: true
providers: {{up: {{base_url: "{url}/v1", key: sk-provider-0123456789}}}}
models: {{m: {{provider: up}}}}
default: m
"""
HELD = threading.Event()


def script(seen: Seen) -> Answer:
    asked = seen.json()
    text = str(asked["messages"][-1]["content"])
    if "fail" in text:
        return error(400, "this model wants less", "invalid_request_error", "too_much")
    if "hold" in text:

        def held() -> Iterator[bytes]:
            # Until the connection breaks: each write would fail then.
            while not HELD.wait(0.05):
                yield sse([chat_chunk({"content": "still "})], done=False)[0]

        return Answer(200, SSE, live=held)
    answer = chat_text(f"answer {seen.number}")
    name = f"chatcmpl-{seen.number}".encode()
    return Answer(200, SSE, [c.replace(b"chatcmpl-1", name) for c in answer.chunks])


class Serves(Protocol):
    """A chain, or what stands before one."""

    port: int


class Client:
    """A WebSocket; `events` sends one message and gives the answer's events up to its end."""

    def __init__(
        self,
        chain: Serves,
        *headers: tuple[str, str],
        deflate: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._socket = socket.create_connection(("127.0.0.1", chain.port), 20)
        if tls:
            self._socket = tls.wrap_socket(self._socket, server_hostname="127.0.0.1")
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._inbox: list[Any] = []
        request = Request(
            host=f"127.0.0.1:{chain.port}",
            target="/v1/responses",
            extra_headers=[(k.encode(), v.encode()) for k, v in headers],
            extensions=[PerMessageDeflate()] if deflate else [],
        )
        self._socket.sendall(self._ws.send(request))
        self.answer = self._next()

    def __enter__(self) -> Self:
        assert isinstance(self.answer, AcceptConnection), self.answer
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def _next(self) -> Any:
        while not self._inbox:
            data = self._socket.recv(65536)
            self._ws.receive_data(data or None)
            self._inbox = list(self._ws.events())
        return self._inbox.pop(0)

    def send(self, message: Any) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        self._socket.sendall(self._ws.send(TextMessage(data=text)))

    def receive(self) -> Any:
        """The next message, decoded; the close event when there is none."""
        text = ""
        while True:
            event = self._next()
            if isinstance(event, CloseConnection):
                return event
            assert isinstance(event, Message), event
            text += str(event.data)
            if event.message_finished:
                return json.loads(text)

    def events(self, message: Any) -> list[dict[str, Any]]:
        self.send(message)
        found = [self.receive()]
        ends = ("response.completed", "response.failed", "error")
        while found[-1]["type"] not in ends:
            found.append(self.receive())
        return found

    def close(self) -> CloseConnection:
        self._socket.sendall(self._ws.send(CloseConnection(code=1000)))
        event = self.receive()
        assert isinstance(event, CloseConnection)
        return event


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(script) as running:
        yield running
        HELD.set()


@pytest.fixture(scope="module")
def chain(upstream: Upstream) -> Iterator[Chain]:
    with Chain(policy=POLICY.format(url=upstream.url), keys=[KEY]) as running:
        yield running


def create(text: str, **more: Any) -> dict[str, Any]:
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    return {"type": "response.create", "model": "m", "input": [message], **more}


def client(chain: Chain, **more: Any) -> Client:
    return Client(chain, ("authorization", f"Bearer {KEY}"), **more)


def said(upstream: Upstream) -> list[str]:
    return [m["content"] for m in upstream.seen[-1].json()["messages"]]


@pytest.mark.parametrize("deflate", [False, True])
def test_turns_of_one_connection(chain: Chain, upstream: Upstream, deflate: bool) -> None:
    with client(chain, deflate=deflate) as ws:
        first = ws.events(create("one"))
        assert first[0]["type"] == "response.created"
        assert [e["sequence_number"] for e in first] == list(range(len(first)))
        deltas = [e["delta"] for e in first if e["type"] == "response.output_text.delta"]
        response = first[-1]["response"]
        assert "".join(deltas) == response["output"][0]["content"][0]["text"]
        assert upstream.seen[-1].headers["authorization"] == "Bearer sk-provider-0123456789"
        ws.events(create("two", previous_response_id=response["id"]))
        assert said(upstream) == ["one", "".join(deltas), "two"]
        assert ws.close().code == 1000


def test_a_turn_that_is_not_stored_goes_on_in_its_connection(
    chain: Chain, upstream: Upstream
) -> None:
    with client(chain) as ws:
        stored = ws.events(create("one"))[-1]["response"]["id"]
        id = ws.events(create("two", store=False, previous_response_id=stored))[-1]["response"][
            "id"
        ]
        third = ws.events(create("three", store=False, previous_response_id=id))
        assert [t for t in said(upstream) if "answer" not in t] == ["one", "two", "three"]
        assert len(said(upstream)) == 5
        id = third[-1]["response"]["id"]
    with client(chain) as ws:
        (lost,) = ws.events(create("four", store=False, previous_response_id=id))
        assert lost["type"] == "error" and lost["status"] == 400
        assert lost["error"]["code"] == "previous_response_not_found"


def test_a_warm_up_asks_nobody(chain: Chain, upstream: Upstream) -> None:
    """As Codex opens a session (codex-wire.md section 8)."""
    before = len(upstream.seen)
    with client(chain) as ws:
        events = ws.events(create("rules", store=False, generate=False))
        assert [e["type"] for e in events] == ["response.created", "response.completed"]
        assert len(upstream.seen) == before
        id = events[-1]["response"]["id"]
        done = ws.events(create("hi", store=False, previous_response_id=id))[-1]
        assert done["type"] == "response.completed" and said(upstream) == ["rules", "hi"]


def test_errors_are_messages_and_the_connection_goes_on(chain: Chain) -> None:
    with client(chain) as ws:
        (refused,) = ws.events(create("fail"))
        assert refused["type"] == "error" and refused["status"] == 400
        assert refused["error"]["code"] == "too_much"
        assert "this model wants less" in refused["error"]["message"]
        assert "JSON" in ws.events("nonsense")[0]["error"]["message"]
        assert "session.update" in ws.events({"type": "session.update"})[0]["error"]["message"]
        assert "input" in ws.events({"type": "response.create", "input": 3})[0]["error"]["message"]
        assert ws.events(create("still there"))[-1]["type"] == "response.completed"


def test_turns_sent_at_once_are_answered_in_order(chain: Chain, upstream: Upstream) -> None:
    with client(chain) as ws:
        for text in ("a", "b"):
            ws.send(create(text))
        done = []
        while len(done) < 2:
            if (event := ws.receive())["type"] == "response.completed":
                done.append(event["response"]["id"])
    assert [s.json()["messages"][-1]["content"] for s in upstream.seen[-2:]] == ["a", "b"]
    assert len(set(done)) == 2


def test_a_client_that_leaves_ends_its_turn(chain: Chain) -> None:
    with client(chain) as ws:
        ws.send(create("hold"))
        while ws.receive()["type"] != "response.output_text.delta":
            pass

    def failed() -> bool:
        page = chain.get("/health?exchanges=1", headers={"x-api-key": KEY}).json()
        return any(row["error"] for row in page["exchanges"][-1:])

    poll(failed, what="the end of the turn")
    assert "Traceback" not in chain.log()


def test_keys_and_origins_count_here_too(chain: Chain) -> None:
    assert isinstance(Client(chain).answer, RejectConnection)
    foreign = [("authorization", f"Bearer {KEY}"), ("origin", "https://evil.example")]
    answer = Client(chain, *foreign).answer
    assert isinstance(answer, RejectConnection) and answer.status_code == 403


def test_without_the_policys_word_there_is_none(upstream: Upstream) -> None:
    policy = POLICY.format(url=upstream.url).replace("websocket: true", "websocket: false")
    with Chain(policy=policy) as running:
        answer = Client(running).answer
        assert isinstance(answer, RejectConnection) and answer.status_code == 426


def test_the_chain_stops_with_a_connection_open(upstream: Upstream, tmp_path: Path) -> None:
    saved = tmp_path / "saved.flow"
    options = {"save_stream_file": str(saved)}
    policy = POLICY.format(url=upstream.url)
    with Chain(policy=policy, options=options, keys=[KEY]) as running:
        with client(running) as ws:
            ws.events(create("one"))
            assert running.stop() == 0
        assert "Traceback" not in running.log()
    assert b"websocket" in saved.read_bytes() and KEY.encode() not in saved.read_bytes()
