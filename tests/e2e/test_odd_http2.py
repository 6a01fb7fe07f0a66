"""Odd HTTP/2, on both sides: trailers, 1xx, bodies without end, lines that end in a head."""

from __future__ import annotations

import itertools
import json
import ssl
from collections.abc import Iterable, Iterator
from typing import Any

import h2.connection
import httpx
import pytest

from tests.e2e.chain import Chain, free_port
from tests.e2e.h2server import H2Server
from tests.e2e.raw import EVENTS, TURNS, WHOLE, WHOLES
from tests.e2e.test_wayout import connect_proxy
from tests.e2e.tls import Authority
from tests.e2e.upstreams import Answer

PROTOCOLS = sorted(TURNS)
SSE, JSON = ("content-type", "text/event-stream"), ("content-type", "application/json")


class Odd(H2Server):
    """Says 103 before each answer, and trailers behind it; ``fields`` are in its head."""

    fields: tuple[tuple[str, str], ...] = ()
    pieces: Any = ()

    def _answer(
        self, connection: h2.connection.H2Connection, stream: int, head: Any, body: bytes
    ) -> None:
        connection.config.validate_outbound_headers = False
        connection.config.normalize_outbound_headers = False
        connection.send_headers(stream, [(":status", "103"), ("link", "</a>")])
        connection.send_headers(stream, [(":status", "200"), *self.fields])
        for piece in self.pieces:
            for at in range(0, len(piece), 16384):
                connection.send_data(stream, piece[at : at + 16384])
        connection.send_headers(stream, [("x-checksum", "1")], end_stream=True)


HOST = "api.openai.com"


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Chain, Odd]]:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    tls = authority.context(HOST, alpn=("h2",))
    port = free_port()
    with Odd(lambda seen: Answer(), tls) as upstream, connect_proxy(upstream.port) as (proxy, _):
        env = {"SSL_CERT_FILE": str(authority.pem), "HTTPS_PROXY": f"http://127.0.0.1:{proxy}"}
        mode, options = f"regular@{port}", {"body_limit": "40k"}
        with Chain(env=env, options=options, mode=mode, port=port) as chain:
            yield chain, upstream
            assert "crashed" not in chain.log() and "Traceback" not in chain.log(), chain.log()


class Second(ssl.SSLContext):
    """Offers HTTP/2 alone; httpx would offer HTTP/1.1 first, and get it."""

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        super().set_alpn_protocols(["h2"])


@pytest.fixture(scope="module")
def client(odd: tuple[Chain, Odd]) -> Iterator[httpx.Client]:
    """Over HTTP/2, as Codex is with `interpose run --intercept`."""
    chain, _ = odd
    trust = Second(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(chain.folder / "conf" / "mitmproxy-ca-cert.pem")
    with httpx.Client(
        proxy=chain.origin, verify=trust, http1=False, http2=True, trust_env=False, timeout=20
    ) as made:
        yield made


_number = itertools.count()


def send(client: httpx.Client, protocol: str, **more: Any) -> httpx.Response:
    path, body = TURNS[protocol]
    body = {**body, "model": f"m{next(_number)}", **more}
    answer = client.post(f"https://{HOST}{path}", json=body)
    assert answer.http_version == "HTTP/2"
    return answer


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("stream", [True, False])
def test_trailers_and_1xx(
    odd: tuple[Chain, Odd], client: httpx.Client, protocol: str, stream: bool
) -> None:
    _, upstream = odd
    upstream.fields, upstream.pieces = ((SSE,), EVENTS) if stream else ((JSON,), [WHOLES[protocol]])
    answer = send(client, protocol, stream=stream)
    assert answer.status_code == 200 and "hello" in answer.text
    assert "x-checksum" not in answer.headers


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_line_that_ends_in_a_head(
    odd: tuple[Chain, Odd], client: httpx.Client, protocol: str
) -> None:
    """HTTP/2 could carry one; whoever gets it over HTTP/1 would take it for fields of its own."""
    _, upstream = odd
    upstream.fields = (SSE, ("x-request-id", "1\r\nset-cookie: planted=1\r\n\r\n<html>"))
    upstream.pieces = EVENTS
    answer = send(client, protocol, stream=True)
    assert answer.status_code == 502 and "reverse" in answer.json()["error"]["message"]
    assert not answer.headers.keys() & {"set-cookie", "x-request-id"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_answer_that_is_too_large(
    odd: tuple[Chain, Odd], client: httpx.Client, protocol: str
) -> None:
    _, upstream = odd
    upstream.fields, upstream.pieces = (JSON,), [WHOLE + b" " * 50_000]
    answer = send(client, protocol)
    assert answer.status_code == 502
    assert "more than 40k" in answer.json()["error"]["message"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("sized", [True, False])
def test_a_request_that_is_too_large(
    odd: tuple[Chain, Odd], client: httpx.Client, protocol: str, sized: bool
) -> None:
    _, upstream = odd
    before = len(upstream.seen)
    path, body = TURNS[protocol]
    data = json.dumps({**body, "user": "x" * 60_000}).encode()
    content: Any = data if sized else (data[at : at + 9000] for at in range(0, len(data), 9000))
    answer = client.post(f"https://{HOST}{path}", content=content)
    assert answer.status_code == 413
    assert "more than 40k" in answer.json()["error"]["message"]
    assert len(upstream.seen) == before
    # The connection goes on.
    upstream.fields, upstream.pieces = (JSON,), [WHOLES[protocol]]
    assert send(client, protocol).status_code == 200


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_head_that_cannot_be_read(
    odd: tuple[Chain, Odd], client: httpx.Client, protocol: str
) -> None:
    _, upstream = odd
    upstream.fields, upstream.pieces = (JSON, ("content-length", "nine")), [WHOLE]
    answer = send(client, protocol)
    assert answer.status_code == 502
    assert "reverse" in answer.json()["error"]["message"]
