"""Odd HTTP of upstreams and clients: trailers, 1xx, lengths that do not fit, heads without end.

A turn passes or ends with an error that its client can read; nobody waits for ever.
"""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterable, Iterator

import pytest

from tests.e2e.chain import Chain
from tests.e2e.raw import (
    EVENTS,
    JSON_FIELD,
    TURNS,
    WHOLE,
    RawUpstream,
    chunked,
    post,
    split,
    talk,
    turn,
)

PROTOCOLS = sorted(TURNS)
SSE = b"content-type: text/event-stream\r\n"
JSON = b"content-type: application/json\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
#: What may come before an answer (RFC 9110, section 15.2).
BEFORE = {
    "100": [b"HTTP/1.1 100 Continue\r\n\r\n"],
    "102": [b"HTTP/1.1 102 Processing\r\nx-a: b\r\n\r\n"],
    "103": [b"HTTP/1.1 103 Early Hints\r\n", b"link: </a>; rel=preload\r\n\r\n"],
    "several": [b"HTTP/1.1 100\r\n\r\nHTTP/1.1 103 \r\na: b\r\n\r\nHTTP/1.1 1", b"02 P\r\n\r\n"],
    "none": [],
}
TRAILERS = {
    "trailers": b"0\r\nx-checksum: 1\r\nset-cookie: a=b\r\n\r\n",
    "no trailers": b"0\r\n\r\n",
}


class Upstreams:
    """The upstream of a chain that says whatever a test puts into ``pieces``."""

    pieces: Iterable[bytes] = ()

    def script(self, request: bytes) -> Iterable[bytes]:
        return self.pieces


@pytest.fixture(scope="module")
def odd() -> Iterator[tuple[Chain, Upstreams, RawUpstream]]:
    says = Upstreams()
    with RawUpstream(says.script) as upstream:
        options = {"upstream": "chat", "body_limit": "1m"}
        with Chain(upstream.url, options=options) as chain:
            yield chain, says, upstream
            assert "crashed" not in chain.log() and "Traceback" not in chain.log(), chain.log()


Odd = tuple[Chain, Upstreams, RawUpstream]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("trailers", sorted(TRAILERS))
@pytest.mark.parametrize("before", sorted(BEFORE))
def test_trailers_and_1xx_of_an_upstream(
    odd: Odd, before: str, trailers: str, protocol: str
) -> None:
    chain, says, _ = odd
    for stream in (True, False):
        kind, pieces = (SSE, EVENTS) if stream else (JSON, [WHOLE[:100], WHOLE[100:]])
        head = OK + kind + CHUNKED + b"trailer: x-checksum, set-cookie\r\n\r\n"
        says.pieces = [*BEFORE[before], head, *chunked(pieces), TRAILERS[trailers]]
        status, fields, body = split(talk(chain.port, [turn(protocol, stream=stream)]))
        assert status == 200 and b"hello" in body, body
        assert "x-checksum" not in fields and b"x-checksum" not in body


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("stream", [True, False])
def test_101_to_a_turn(odd: Odd, protocol: str, stream: bool) -> None:
    chain, says, _ = odd
    says.pieces = [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"]
    assert "101" in _error(talk(chain.port, [turn(protocol, stream=stream)]))


LAST = b"0\r\n\r\n"
ENDS = {
    "too short": (OK + JSON + b"content-length: 5000\r\n\r\n", [WHOLE]),
    "no last chunk": (OK + JSON + CHUNKED + b"\r\n", [*chunked([WHOLE])]),
    "half a chunk": (OK + JSON + CHUNKED + b"\r\n", [b"ffff\r\n" + WHOLE]),
    "both": (OK + JSON + CHUNKED + b"content-length: 10\r\n\r\n", [*chunked([WHOLE]), LAST]),
    "two lengths": (OK + JSON + b"content-length: 10\r\ncontent-length: 20\r\n\r\n", [WHOLE]),
    "no length": (OK + JSON + b"content-length: many\r\n\r\n", [WHOLE]),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", []),
    "no status": (b"HTTP/1.1 abc\r\n\r\n", []),
    "nothing": (b"", []),
    "a head without end": (OK, [b"x-a: %b\r\n" % (b"y" * 8000)] * 100),
    "a line without end": (OK + b"x-a: ", [b"y" * 65536] * 10),
    "a chunk's size without end": (OK + JSON + CHUNKED + b"\r\n1;", [b"y" * 65536] * 40),
    "trailers without end": (
        OK + JSON + CHUNKED + b"\r\n",
        [*chunked([WHOLE]), b"0\r\n", *[b"x-a: %b\r\n" % (b"y" * 8000)] * 400],
    ),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", sorted(ENDS))
def test_answers_that_cannot_be_read(odd: Odd, name: str, protocol: str) -> None:
    chain, says, _ = odd
    head, pieces = ENDS[name]
    says.pieces = [head, *pieces]
    for stream in (True, False):
        said = talk(chain.port, [turn(protocol, stream=stream)])
        assert "reverse" in _error(said), said


def test_an_answer_longer_than_its_length(odd: Odd) -> None:
    """The rest is none of the answer, and nothing of it is logged."""
    chain, says, _ = odd
    head = OK + JSON + b"content-length: %d\r\n\r\n" % len(WHOLE)
    says.pieces = [head + WHOLE + b"secret rest", b"HTTP/1.1 200 OK\r\n\r\n"]
    for protocol in PROTOCOLS:
        status, _, body = split(talk(chain.port, [turn(protocol, stream=False)]))
        assert status == 200 and b"hello" in body and b"rest" not in body, body
    assert "secret rest" not in chain.log()


def test_half_a_head_of_a_client_is_not_logged(odd: Odd) -> None:
    chain, _, _ = odd
    import socket

    with socket.create_connection(("127.0.0.1", chain.port)) as client:
        client.sendall(b"POST /v1/responses HTTP/1.1\r\nauthorization: Bearer sk-half-a-head\r\n")
    assert chain.get("/health").status_code == 200
    assert "sk-half-a-head" not in chain.log()


def test_trailers_of_a_client(odd: Odd) -> None:
    chain, says, upstream = odd
    says.pieces = [OK + JSON + b"content-length: %d\r\n\r\n" % len(WHOLE), WHOLE]
    for path, turn_ in TURNS.values():
        head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{JSON_FIELD}trailer: x-a\r\n"
        body = json.dumps(turn_).encode()
        pieces = [*chunked([body[:9], body[9:]]), b"0\r\nx-a: planted\r\n\r\n"]
        close = b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        status, _, answer = split(talk(chain.port, [head.encode() + close, *pieces]))
        assert status == 200 and b"hello" in answer
        assert b"planted" not in upstream.seen[-1]


REQUESTS = {
    "both": b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "two lengths": b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "no length": b"content-length: -1\r\n\r\n",
    "no chunk": b"transfer-encoding: chunked\r\n\r\nxyz\r\n",
}


@pytest.mark.parametrize("name", sorted(REQUESTS))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_that_cannot_be_read(odd: Odd, protocol: str, name: str) -> None:
    chain, _, upstream = odd
    before = len(upstream.seen)
    path, _ = TURNS[protocol]
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n".encode()
    assert _error(talk(chain.port, [head + REQUESTS[name]]), 400)
    assert len(upstream.seen) == before


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("form", ["chunked", "declared", "declared and small"])
def test_a_request_without_end(odd: Odd, protocol: str, form: str) -> None:
    """It is refused while it arrives, and the client may go on for a while before it reads that."""
    chain, _, upstream = odd
    before = len(upstream.seen)
    path, _ = TURNS[protocol]
    framing = {
        "chunked": "transfer-encoding: chunked",
        "declared": f"content-length: {10**12}",
        "declared and small": f"content-length: {2**20 + 1}",
    }[form]
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{framing}\r\n\r\n".encode()
    piece = b"x" * 65536
    pieces: Iterable[bytes] = itertools.repeat(piece, 17)
    if form != "declared and small":
        pieces = itertools.repeat(piece)
    if form == "chunked":
        pieces = chunked(pieces)
    said = talk(chain.port, itertools.chain([head], pieces))
    assert "more than 1m" in _error(said, 413)
    assert len(upstream.seen) == before


def test_a_refused_request_without_end(odd: Odd) -> None:
    """Whatever it is refused for."""
    chain, _, _ = odd
    for path, status in (("/nonsense", 404), ("/v1/messages", 403)):
        host = "evil.example" if status == 403 else "127.0.0.1"
        head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\n"
        pieces = chunked(itertools.repeat(b"x" * 65536))
        assert _error(talk(chain.port, itertools.chain([head.encode()], pieces)), status)


def test_a_client_that_goes_on_while_it_waits(odd: Odd) -> None:
    """What it sends before its answer is not kept for ever."""
    chain, says, _ = odd
    says.pieces = (b"" for _ in iter(int, 1))
    rest = itertools.repeat(b"x" * 65536)
    first = turn("chat", stream=False)
    assert talk(chain.port, itertools.chain([first], rest)) == b""


ENDLESS = {
    "chunked": (CHUNKED, chunked(itertools.repeat(b"x" * 65536))),
    "declared": (b"content-length: 1000000000000\r\n", itertools.repeat(b"x" * 65536)),
    "until it closes": (b"", itertools.repeat(b"x" * 65536)),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("form", sorted(ENDLESS))
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_without_end(odd: Odd, form: str, protocol: str, stream: bool) -> None:
    """The client is told once, and the upstream is left."""
    chain, says, _ = odd
    framing, pieces = ENDLESS[form]
    says.pieces = itertools.chain([OK + JSON + framing + b"\r\n"], pieces)
    said = talk(chain.port, [turn(protocol, stream=stream)])
    assert "more than 1m" in _error(said)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_streamed_answer_without_end(odd: Odd, protocol: str) -> None:
    chain, says, _ = odd
    event = EVENTS[1].replace(b"hello", b"hello" * 10_000)
    pieces = chunked(itertools.chain(EVENTS[:1], itertools.repeat(event)))
    says.pieces = itertools.chain([OK + SSE + CHUNKED + b"\r\n"], pieces)
    status, _, body = split(talk(chain.port, [turn(protocol, stream=True)]))
    assert status == 200
    assert b"more than 4 times 1m" in body
    # In the words of the Responses API the last event says everything again.
    assert 3 * 2**20 < len(body) < 10 * 2**20


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_packed_stream_that_breaks_and_goes_on(odd: Odd, protocol: str) -> None:
    """The client is told, and nothing more is waited for, and kept."""
    chain, says, _ = odd
    head = OK + SSE + CHUNKED + b"content-encoding: gzip\r\n\r\n"
    first, broken = gzip.compress(EVENTS[0]), itertools.repeat(b"no gzip " * 8000)
    says.pieces = itertools.chain([head], chunked(itertools.chain([first], broken)))
    status, _, body = split(talk(chain.port, [turn(protocol, stream=True)]))
    assert status == 200 and b"not gzip as its header says" in body


def _error(said: bytes, status: int = 502) -> str:
    """The message of an error that a client can read."""
    found, fields, body = split(said)
    assert found == status, said[:2000]
    assert fields["content-type"] == "application/json"
    return str(json.loads(body)["error"]["message"])


@pytest.mark.parametrize("stream", [True, False])
def test_a_connection_that_an_upstream_closes_carries_no_other_turn(stream: bool) -> None:
    """Whether or not it is closed already when the client's next turn comes."""
    kind, pieces = (SSE, EVENTS) if stream else (JSON, [WHOLE])
    head = OK + kind + CHUNKED + b"connection: close\r\n\r\n"
    answer = [head, *chunked(pieces), LAST]
    with RawUpstream(lambda _: answer, lingers=True) as upstream:
        with Chain(upstream.url, options={"upstream": "chat"}) as chain:
            path, body = TURNS["chat"]
            data = json.dumps({**body, "stream": stream}).encode()
            turns = [post(path, data, close=False), post(path, data)]
            assert talk(chain.port, turns).count(b"HTTP/1.1 200") == 2
        assert len(upstream.seen) == 2


def test_the_next_request_of_a_connection(odd: Odd) -> None:
    """After all that, one connection still carries several turns."""
    chain, says, _ = odd
    says.pieces = [
        *BEFORE["103"],
        # What closes without a word may have been asked again already: no server may do that.
        OK + JSON + CHUNKED + b"connection: close\r\n\r\n",
        *chunked([WHOLE]),
        TRAILERS["trailers"],
    ]
    path, body = TURNS["chat"]
    data = json.dumps(body).encode()
    one, two = post(path, data, close=False), post(path, data)
    said = talk(chain.port, [one, two])
    assert said.count(b"HTTP/1.1 200") == 2 and said.count(b"hello") == 2
