"""Behind a company proxy: HTTPS_PROXY and NO_PROXY, a login for it, and an extra CA file."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.answers import chat_text
from tests.e2e.chain import Chain
from tests.e2e.upstreams import Upstream, bad_certificate

TURN = {"model": "m", "stream": True, "input": "hi"}


@contextmanager
def connect_proxy(target: int, host: str = "") -> Iterator[tuple[int, list[str]]]:
    """A proxy that leads every CONNECT (to ``host``, others are refused) to 127.0.0.1:`target`;
    its port, and the heads it got."""
    heads: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        sink.close()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            head = b""
            while not head.endswith(b"\r\n\r\n") and (data := client.recv(4096)):
                head += data
            if not head:
                continue
            heads.append(head.decode())
            if not head.startswith(b"CONNECT " + host.encode()):
                client.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", target))
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            for pair in ((client, server), (server, client)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1], heads
    finally:
        listener.close()


def policy(address: str) -> str:
    return (
        f"providers: {{ far: {{ base_url: '{address}/v1' }} }}\n"
        "models: { m: { provider: far } }\n"
    )


def test_the_way_out_is_the_proxy_of_the_environment_with_its_login() -> None:
    with (
        Upstream([chat_text("from afar")]) as upstream,
        connect_proxy(upstream.port) as (port, heads),
    ):
        env = {"HTTP_PROXY": f"http://user:pass@127.0.0.1:{port}"}
        with Chain(policy=policy("http://provider.test:8123"), env=env) as chain:
            answer = chain.post("/v1/responses", json=TURN)
            assert "response.completed" in answer.text, answer.text
        connects = [h for h in heads if h.startswith("CONNECT provider.test:8123 ")]
        assert connects and "proxy-authorization: Basic dXNlcjpwYXNz" in connects[0]
        assert upstream.posts()[0].headers["host"] == "provider.test:8123"


def test_no_proxy_and_loopback_go_directly() -> None:
    with Upstream([chat_text("near")]) as upstream:
        env = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
        with Chain(policy=policy(upstream.url), env=env) as chain:
            assert "response.completed" in chain.post("/v1/responses", json=TURN).text
        with Chain(
            policy=policy("http://no-such-host.invalid"), env={**env, "NO_PROXY": ".invalid"}
        ) as chain:
            error = json.loads(chain.post("/v1/responses", json=TURN).text)["error"]
            assert "cannot be found" in error["message"]


def test_a_dead_proxy_is_named() -> None:
    with Chain(
        policy=policy("http://provider.test"), env={"HTTP_PROXY": "http://127.0.0.1:9"}
    ) as chain:
        error = json.loads(chain.post("/v1/responses", json=TURN).text)["error"]
        assert "127.0.0.1:9" in error["message"]


def test_an_extra_ca_file_is_trusted(tmp_path: Path) -> None:
    with Upstream([chat_text("safe")], tls=bad_certificate(tmp_path)) as upstream:
        env = {"SSL_CERT_FILE": str(tmp_path / "self-signed.pem")}
        with Chain(policy=policy(upstream.url), env=env) as chain:
            assert "response.completed" in chain.post("/v1/responses", json=TURN).text
