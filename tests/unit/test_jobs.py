"""What the recorder is told of an exchange arrives whole, and what it writes is without keys."""

from __future__ import annotations

import codecs
import gzip
import json
import os
from collections.abc import Callable
from io import BytesIO
from typing import Any

import brotli
import pytest
import zstandard
from mitmproxy import http
from mitmproxy.io import FlowReader
from mitmproxy.test import tflow

from addons.flowfile import body_of
from addons.jobs import Job, Receiver, Sender
from addons.legs import flows, legs, written
from shim.record.packed import LEAST

KEY = "sk-planted-9876543210"


def exchange(key: str, asked: list[bytes], answered: list[bytes], thread: str = "") -> Job:
    """An exchange of two legs with these bodies."""
    flow = tflow.tflow(resp=True, err=True)
    assert flow.response and flow.error
    flow.error.msg = f"broke with {key}"
    flow.request.path = f"/v1/responses?key={key}&x=ü"
    flow.response.trailers = http.Headers(x_echo=key)
    leg = (_fields(flow.request), _fields(flow.response))
    bodies = [body for pair in zip(asked, answered, strict=True) for body in pair]
    connections = (flow.client_conn.get_state(), flow.server_conn.get_state())
    row = {"exchange": "x", "route": {}, "decisions": [], "thread": thread or None}
    state = flow.error.get_state()
    return Job(row, frozenset([key]), connections, [leg, leg], state, bodies)


def _fields(message: http.Message) -> dict[str, Any]:
    """What a message is made of, without its body."""
    data = message.data
    trailers = data.trailers.fields if data.trailers else None
    return {**vars(data), "headers": data.headers.fields, "content": b"", "trailers": trailers}


def sent(*batches: list[Job]) -> list[list[Job]]:
    """Each batch as it arrives."""
    sender = Sender()
    data = b"".join(b"".join(sender.frame(jobs)) for jobs in batches)
    receiver = Receiver(BytesIO(data))
    return [receiver.jobs() for _ in batches]


def plain(jobs: list[Job]) -> list[list[bytes]]:
    """The bodies of ``jobs``."""
    return [[bytes(body) for body in job.bodies] for job in jobs]


def read(job: Job) -> list[http.HTTPFlow]:
    """What stock mitmproxy reads of what is written."""
    found = list(FlowReader(BytesIO(written(job, legs(job)))).stream())
    assert all(isinstance(flow, http.HTTPFlow) for flow in found)
    return found  # type: ignore[return-value]


def test_what_is_written_is_read_back_without_keys() -> None:
    # The client wrote its key with an escape: by its bytes it is only there upstream.
    escaped = KEY.replace("-", "\\u002d").encode()
    job = exchange(KEY, [b'{"a":"%b"}' % escaped, KEY.encode()], [b"same", b"same"])
    [[again]] = sent([job])
    assert again == job
    assert KEY.encode() not in written(again, legs(again))
    client, upstream = read(again)
    for flow, made in zip((client, upstream), flows(again), strict=True):
        assert flow.id != made.id
        assert {**flow.get_state(), "id": ""} == {**made.get_state(), "id": ""}
        assert flow.response and flow.response.raw_content == b"same"
        assert flow.request.path == "/v1/responses?key=[redacted]&x=ü"
        assert flow.error and flow.error.msg == "broke with [redacted]"
    assert upstream.request.raw_content == b"[redacted]"


def test_a_batch_that_was_cut_off_holds_what_came_whole() -> None:
    long = b"u" * 5000
    jobs = [exchange("k" * 9, [b"q%d" % n, long], [b"a", b"%d" % n + long]) for n in range(3)]
    data = b"".join(Sender().frame(jobs))
    assert plain(Receiver(BytesIO(data)).jobs()) == plain(jobs)
    assert plain(Receiver(BytesIO(data[:-1])).jobs()) == plain(jobs[:2])
    assert Receiver(BytesIO(data[:20])).jobs() == Receiver(BytesIO()).jobs() == []


def turns(count: int, word: str = "plain", where: int = -1) -> list[bytes]:
    """The bodies of a conversation; ``word`` is in the item of turn ``where``."""
    items: list[dict[str, Any]] = []
    made = []
    for n in range(count):
        items.append({"role": "user", "content": f"{n}: {'text ' * 600}"})
        items.append({"role": "tool", "content": word if n == where else f"output {n}"})
        tools = [{"name": "a", "description": "d" * 900}, {"name": "b"}]
        said = {"model": "m", "input": items, "tools": tools}
        made.append(json.dumps(said, separators=(",", ":")).encode())
    return made


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1, 1), (6,), (2, 3, 1)])
@pytest.mark.parametrize("where", [-1, 0, 2, 5])
def test_of_a_conversation_only_what_is_new_is_sent(sizes: tuple[int, ...], where: int) -> None:
    bodies = turns(6, f"key {KEY}.", where)
    jobs = [exchange(KEY, [body, body], [b"a", b"b"], "t-1") for body in bodies]
    for job in jobs:
        # Else there is something to hide in each.
        job.error = None
        job.legs[0][1]["trailers"] = None
    left, batches = list(jobs), []
    for size in sizes:
        batches.append([left.pop(0) for _ in range(size)])
    sender = Sender()
    lengths = [sum(map(len, sender.frame(batch))) for batch in batches]
    assert sum(lengths) < 2 * len(bodies[-1]) + len(jobs) * 4000
    arrived = [job for batch in sent(*batches) for job in batch]
    assert plain(arrived) == plain(jobs)
    for number, job in enumerate(arrived):
        data = written(job, legs(job))
        for flow in FlowReader(BytesIO(data)).stream():
            assert isinstance(flow, http.HTTPFlow)
            told = bodies[number].replace(KEY.encode(), b"[redacted]")
            assert flow.request.get_content() == told
            packs = len(told) >= LEAST
            assert ("x-interpose-packed" in flow.request.headers) == packs


def test_what_is_packed_is_marked_and_stock_mitmproxy_reads_it() -> None:
    body, answer = turns(4)[3], b"data: {}\n\n" * 900
    job = exchange("k" * 9, [body, b"{}"], [answer, b"short"], "t-1")
    job.legs[0][0]["headers"] = ((b"content-length", b"%d" % len(body)), (b"host", b"h"))
    [[again]] = sent([job])
    client, upstream = read(again)
    for message, plain_body in ((client.request, body), (client.response, answer)):
        assert message and message.get_content() == plain_body
        raw = message.raw_content or b""
        assert len(raw) < len(plain_body) / 2
        assert message.headers["x-interpose-packed"] == str(len(plain_body))
        assert message.headers["content-encoding"] == "zstd"
    assert client.request.headers["content-length"] == str(len(client.request.raw_content or b""))
    assert upstream.response and upstream.response.raw_content == b"short"
    assert "content-encoding" not in upstream.response.headers
    # Whoever looks at a live flow sees it as it was sent.
    assert flows(job)[0].request.raw_content == body


def test_an_encoded_body_stays_as_it_came() -> None:
    plain_request = http.Request.make("POST", "http://h/", b"x" * 9000, {"content-type": "a/b"})
    plain_request.encode("gzip")
    body = plain_request.raw_content or b""
    job = exchange("k" * 9, [body, b""], [b"a", b"b"], "t-1")
    job.legs[0][0]["headers"] = plain_request.headers.fields
    [[again]] = sent([job])
    client, _ = read(again)
    assert client.request.raw_content == body and client.request.get_content() == b"x" * 9000
    assert "x-interpose-packed" not in client.request.headers


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        (b"rot13", bytes),
        (b"base64, gzip", gzip.compress),
        (b"gzip", lambda body: gzip.compress(body)[:-9]),
        (b"br", lambda body: brotli.compress(body + os.urandom(99))[:-50]),
        (b"zstd", lambda body: zstandard.compress(body) + zstandard.compress(body)[:-3]),
        (b"deflate", bytes),
        (b"gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
        (b"\xff", bytes),
    ],
)
def test_a_body_is_recorded_whatever_its_encoding_is_called(
    coding: bytes, pack: Callable[[bytes], bytes]
) -> None:
    body = pack(b'{"say": "%b"}' % KEY.encode())
    job = exchange(KEY, [body, b"{}"], [body, b"{}"])
    for fields in job.legs[0]:
        assert fields
        fields["headers"] = ((b"content-encoding", coding),)
    [[again]] = sent([job])
    client, _ = read(again)
    for message in (client.request, client.response):
        assert KEY.encode() not in body_of(message)
        assert KEY.encode() not in (message.raw_content or b"" if message else b"")


def test_what_does_not_fit_is_no_body() -> None:
    sender, bodies = Sender(), turns(3)
    jobs = [exchange("k" * 9, [body, body], [b"a", b"b"], "t-1") for body in bodies]
    first, _, third = (b"".join(sender.frame([job])) for job in jobs)
    receiver = Receiver(BytesIO(first + third))
    assert plain(receiver.jobs()) == plain(jobs[:1])
    with pytest.raises((ValueError, IndexError)):
        receiver.jobs()


def encoded(body: bytes, *codings: str) -> Job:
    """An exchange whose bodies are ``body`` under these headers."""
    job = exchange(KEY, [body, b"plain"], [body, b"plain"])
    for fields in job.legs[0]:
        assert fields
        fields["headers"] = (*((b"Content-Encoding", c.encode()) for c in codings),)
    return job


@pytest.mark.parametrize(
    ("codings", "pack"),
    [
        (["gzip"], gzip.compress),
        (["gzip, br"], lambda data: brotli.compress(gzip.compress(data))),
        (["gzip", "br"], lambda data: brotli.compress(gzip.compress(data))),
        (["identity", "gzip"], gzip.compress),
        (["gzip"], lambda data: gzip.compress(data)[:-8]),
        (["rot13"], lambda data: codecs.encode(data.decode(), "rot13").encode()),
        (["snappy"], lambda data: data[::-1]),
    ],
)
def test_no_encoding_hides_a_key(codings: list[str], pack: Callable[[bytes], bytes]) -> None:
    text = f"it is {KEY}, ".encode() + b"and so on " * 500
    job = encoded(pack(text), *codings)
    for flow in read(job)[:1]:
        for message in (flow.request, flow.response):
            assert message
            body = message.get_content(strict=False) or b""
            for form in (body, codecs.encode(body.decode("latin-1"), "rot13").encode(), body[::-1]):
                assert KEY.encode() not in form
    assert KEY.encode() not in written(job, legs(job))


def test_a_body_that_holds_no_key_stays_as_it_was_encoded() -> None:
    packed = gzip.compress(b"nothing of it " * 100)
    (flow, _) = read(encoded(packed, "gzip"))
    assert flow.request.raw_content == packed and flow.request.headers["content-encoding"] == "gzip"


def test_a_bomb_is_written_up_to_a_bound() -> None:
    bomb = gzip.compress(bytes(100 * 1024 * 1024), 1)
    (flow, _) = read(encoded(bomb, "gzip"))
    body = flow.request.content or b""
    assert len(body) < 65 * 1024 * 1024 and b"[not recorded from here, of " in body
