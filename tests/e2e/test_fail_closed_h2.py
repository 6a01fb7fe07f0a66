"""Odd requests by HTTP/2, with and without rules, and answers that come by HTTP/2.

What HTTP/2 itself forbids is refused by mitmproxy: with an error, or by ending the connection.
"""

from __future__ import annotations

from collections.abc import Iterator

import h2.exceptions
import pytest

from tests.e2e.chain import Chain
from tests.e2e.fail_closed import CHAIN_KEY, PROVIDER_KEY, World, check_error, journal, provider
from tests.e2e.h2client import Fields, H2Client
from tests.e2e.h2server import H2Server
from tests.e2e.odd_bodies import OWN_KEY, PHRASE, dumped, plain
from tests.e2e.place import Place
from tests.e2e.tls import Authority
from tests.e2e.trap import Trap

BODY = dumped(plain("responses", "to-chat"))
ANSWER = b'{"id":"resp_1","object":"response","status":"completed","output":[]}'
OK = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    b"keep-alive: timeout=5\r\nconnection: close\r\n\r\n%b" % (len(ANSWER), ANSWER)
)


def fields(*more: tuple[str | bytes, str | bytes], **pseudo: str) -> Fields:
    """The head of a turn; a pseudo field that is empty is left out."""
    named = {"method": "POST", "scheme": "https", "authority": "localhost", **pseudo}
    named.setdefault("path", "/v1/responses")
    head = [(f":{name}", value) for name, value in named.items() if value]
    return [*head, ("authorization", f"Bearer {CHAIN_KEY}"), *more]


TRAILER = [("x-a", "b"), ("authorization", f"Bearer {OWN_KEY}")]
#: Its statuses, 0 for a connection that ends; body and trailers are a turn's unless they are given.
CASES: dict[str, tuple[set[int], Fields, bytes, Fields]] = {
    "a turn": ({200}, fields(), BODY, ()),
    "trailers": ({200}, fields(), BODY, TRAILER),
    "the phrase": ({400}, fields(), dumped(plain("responses", "to-chat", PHRASE)), ()),
    "no body": ({400}, fields(), b"", ()),
    "another path": ({404}, fields(path="/v1/%72esponses"), BODY, ()),
    "no path": ({0, 400}, fields(path=""), BODY, ()),
    "a path without a slash": ({400}, fields(path="v1/responses"), BODY, ()),
    "a path with NUL": ({0, 400}, fields(path="/v1/\0/responses"), BODY, ()),
    "an absolute path": ({400}, fields(path="http://evil.example/v1/responses"), BODY, ()),
    "another authority": ({403}, fields(authority="evil.example"), BODY, ()),
    "another host field": ({0, 200, 403}, fields(("host", "evil.example")), BODY, ()),
    "no authority": ({0, 403}, fields(authority=""), BODY, ()),
    "authority in host alone": ({0, 200}, fields(("host", "localhost"), authority=""), BODY, ()),
    "another scheme": ({0, 200, 400}, fields(scheme="ftp"), BODY, ()),
    "GET": ({405}, fields(method="GET"), b"", ()),
    "CONNECT": ({0, 400, 405}, fields(method="CONNECT", path="", scheme=""), b"", ()),
    "a WebSocket": (
        {0, 400, 405},
        fields(method="CONNECT", protocol="websocket"),
        b"",
        (),
    ),
    "connection": ({0, 200, 400}, fields(("connection", "x-a"), ("x-a", "b")), BODY, ()),
    "transfer-encoding": ({0, 400}, fields(("transfer-encoding", "chunked")), BODY, ()),
    "te": ({0, 200, 400}, fields(("te", "gzip")), BODY, ()),
    "capitals": ({0, 200, 400}, fields(("X-A", "b")), BODY, ()),
    "a field over lines": ({0, 400}, fields(("x-a", b"b\r\nx-b: c")), BODY, ()),
    "a field with NUL": ({0, 400}, fields(("x-a", b"b\0c")), BODY, ()),
    "a length that is too long": ({0, 400}, fields(("content-length", "9999")), BODY, ()),
    "a length that is too short": ({0, 400}, fields(("content-length", "5")), BODY, ()),
    "a pseudo field behind": ({0, 400}, [*fields(), (":path", "/v1/messages")], BODY, ()),
    "two paths": ({0, 400}, [(":path", "/v1/messages"), *fields()], BODY, ()),
    "an interpose field": ({200}, fields(("x-interpose-account", "1")), BODY, ()),
    "cookies": ({200}, fields(("cookie", "a=b"), ("cookie", "c=d")), BODY, ()),
}


def ask(port: int, case: str) -> int:
    """The status that comes of a case."""
    statuses, head, body, trailers = CASES[case]
    with H2Client(port) as client:
        try:
            got = client.ask(head, body, trailers)
        except h2.exceptions.ProtocolError:
            return 0
    assert got.status in statuses, (got.status, got.text[:300])
    assert got.whole or not got.status
    if got.status >= 400 and not got.is_html:
        assert check_error(got, "any")
    assert not {"connection", "keep-alive", "transfer-encoding"} & set(got.headers)
    return got.status


@pytest.fixture(scope="module")
def ruled() -> Iterator[World]:
    with World("rules") as world:
        yield world


@pytest.fixture(scope="module")
def bare() -> Iterator[tuple[Chain, Trap]]:
    with Trap(OK) as target, Chain(target.url, keys=[CHAIN_KEY]) as chain:
        yield chain, target


@pytest.mark.parametrize("case", CASES)
def test_under_rules(ruled: World, case: str) -> None:
    count = len(ruled.upstream.seen)
    status = ask(ruled.chain.port, case)
    sent = ruled.upstream.seen[count:]
    assert len(sent) == (status == 200) and not ruled.trap.requests
    for seen in sent:
        told = f"{seen.path}\n{seen.headers}"
        assert seen.body and OWN_KEY not in told and CHAIN_KEY not in told


@pytest.mark.parametrize("case", CASES)
def test_without_a_policy(bare: tuple[Chain, Trap], case: str) -> None:
    chain, target = bare
    count = len(target.requests)
    if case == "the phrase":
        return
    status = ask(chain.port, case)
    sent = target.requests[count:]
    assert len(sent) == (status == 200)
    for request in sent:
        head, _, body = request.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        assert lines[0] == b"post /v1/responses http/1.1"
        assert len([line for line in lines if line.startswith(b"host: ")]) == 1
        hop = (b"te:", b"connection:", b"transfer-encoding:", b"x-interpose", b"x-a: b", b":")
        assert not [line for line in lines[1:] if line.startswith(hop)] or case == "capitals"
        assert CHAIN_KEY.lower().encode() not in head and OWN_KEY.encode() not in request
        assert body == BODY


def test_all_have_their_ends(ruled: World, bare: tuple[Chain, Trap]) -> None:
    for chain in (ruled.chain, bare[0]):
        ask(chain.port, "trailers")
        rows = journal(chain)
        assert rows and {row["state"] for row in rows} <= {"ok", "failed"}
        assert "crashed" not in chain.log() and "Traceback" not in chain.log()


def test_a_provider_that_sends_trailers_by_h2(place: Place) -> None:
    authority = Authority(place.folder)
    tls = authority.context("127.0.0.1", alpn=("h2",))
    with H2Server(provider, tls, trailers=[("x-a", "b")]) as server:
        policy = (
            f'providers: {{ p: {{ base_url: "https://127.0.0.1:{server.port}/v1",'
            f" protocol: responses, key: {PROVIDER_KEY} }} }}\n"
            "models: { to-chat: { provider: p } }\n"
        )
        env = {"SSL_CERT_FILE": str(authority.pem)}
        with Chain(policy=policy, keys=[CHAIN_KEY], env=env) as chain:
            for stream in (False, True):
                body = dumped(plain("responses", "to-chat", stream=stream))
                with H2Client(chain.port) as client:
                    got = client.ask(fields(), body)
                assert got.status == 200 and got.whole and b"fine" in got.body
            assert [row["state"] for row in journal(chain)] == ["ok", "ok"]
            assert "crashed" not in chain.log()
