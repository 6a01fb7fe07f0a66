"""Odd requests through the chain as a forward proxy: the trap is a host where models are, and the
policy sends its turns elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.chain import Chain, free_port
from tests.e2e.fail_closed import (
    PROVIDER_KEY,
    World,
    check_answer,
    check_error,
    check_journal,
    check_sent,
    told,
)
from tests.e2e.known_faults import REQUESTS, mark
from tests.e2e.odd_bodies import OWN_KEY, PATHS, PHRASE, SECRET, Odd, dumped, odd_bytes, plain
from tests.e2e.odd_items import escaped, in_all_places
from tests.e2e.raw_http import Got, Wire, request

MODELS = ("to-responses", "to-chat", "to-messages")
BODY = dumped(plain("responses", "to-chat"))
BAD = dumped(plain("responses", "to-chat", PHRASE))


class Forward(World):
    """A forward proxy; requests are for the trap, as their clients believe."""

    def make_chain(self, policy: str, more: dict[str, Any]) -> Chain:
        self.base = self.trap.url
        port = free_port()
        for host in ("127.0.0.1", "localhost"):
            url = f"http://{host}:{self.trap.port}/v1"
            own = f'  own-{host}: {{ base_url: "{url}", protocol: responses, key: none }}\n'
            policy = policy.replace("models:", own + "models:", 1)
        return Chain(policy=policy, mode=f"regular@{port}", port=port, **more)


@pytest.fixture(scope="module")
def world() -> Iterator[Forward]:
    with Forward("rules") as running:
        yield running
        assert "crashed" not in running.chain.log()


def some(every: int) -> Iterator[tuple[Odd, str]]:
    everything = [odd for protocol in PATHS for odd in odd_bytes(protocol)]
    everything += [*in_all_places(), *escaped()]
    for number, odd in enumerate(everything[::every]):
        model = MODELS[number % 3]
        # A model that the policy does not know goes where the client has sent it.
        named = b'"%b"' % model.encode() in odd.body(model)
        known = any(mark(REQUESTS, odd.protocol, odd.name, m) for m in MODELS)
        if named and not known and "model twice" not in odd.name:
            yield odd, model


def check(world: Forward, every: int) -> None:
    wrong = []
    for result in world.results(some(every)).values():
        try:
            check_sent(result)
            check_answer(result, result.odd.status | {200, 400})
            check_journal(result)
        except AssertionError as e:
            wrong.append(f"{result.odd.protocol} {result.odd.name}: {str(e)[:300]}")
    assert not wrong
    assert not world.trap.requests
    assert told(world.chain, OWN_KEY, PROVIDER_KEY) == []
    # Stored responses are kept as they were (docs/state.md): they go on.
    hits = told(world.chain, SECRET)
    assert [hit for hit in hits if not hit.startswith("responses.db")] == []


def test_odd_bodies(world: Forward) -> None:
    check(world, 19)


@pytest.mark.full
def test_all_odd_bodies() -> None:
    with Forward("rules") as world:
        check(world, 1)


PATHS_IN_DISGUISE = [
    "/v1/%72esponses",
    "/v1/%2572esponses",
    "//v1//responses",
    "/v1/./responses",
    "/v1/x/../responses",
    "/V1/Responses",
    "/v1/responses;x",
    "/v1\\responses",
    "/v1/%2e%2e/v1/responses",
    "/v1/responses%2f",
]


@pytest.mark.parametrize("path", PATHS_IN_DISGUISE)
def test_a_turn_at_a_path_in_disguise(world: Forward, path: str) -> None:
    with Wire(world.chain.port) as wire:
        got = wire.ask(request(world.trap.url + path, BAD))
    assert got.status in (400, 404) and check_error(got, "any")
    assert not world.trap.requests


def heads(world: Forward) -> dict[str, tuple[bytes, set[int]]]:
    """Odd heads of turns for the trap, with the statuses that fit."""
    url, port = f"{world.trap.url}/v1/responses", world.trap.port
    own = f"127.0.0.1:{world.chain.port}"
    return {
        "another host field": (request(url, BODY, host="foreign.example"), {200}),
        "no host field": (request(url, BODY, host=None), {200}),
        "the phrase, another host field": (request(url, BAD, host="foreign.example"), {400}),
        "capitals": (request(url.replace("http", "HTTP", 1), BAD), {400}),
        "a user": (request(url.replace("//", "//u:p@"), BAD), {400}),
        "a control character": (request(url, BAD, [("x-a", b"b\0c")]), {400}),
        "an upgrade": (request(url, BAD, [("upgrade", "websocket")]), {405, 426}),
        "GET": (request(url, BAD, method="GET"), {405}),
        "PUT": (request(url, BAD, method="PUT"), {405}),
        "post": (request(url, BAD, method="post"), {405}),
        "HTTP/1.0": (request(url, BAD, version="HTTP/1.0"), {400}),
        "https in the line": (
            request(f"https://127.0.0.1:{port}/v1/responses", BAD),
            {400, 502},
        ),
        "origin form, the trap as host": (
            request("/v1/responses", BAD, host=f"127.0.0.1:{port}"),
            {400},
        ),
        "to the chain itself": (request("/v1/responses", BODY, host=own), {200}),
        "to the chain itself, the phrase": (request("/v1/responses", BAD, host=own), {400}),
        "to the chain itself, absolute": (request(f"http://{own}/v1/responses", BAD), {400}),
    }  # fmt: skip


def test_odd_heads(world: Forward) -> None:
    for name, (data, statuses) in heads(world).items():
        with Wire(world.chain.port) as wire:
            got = wire.ask(data, "GET" if name == "GET" else "POST")
        assert got.status in statuses and got.whole, (name, got.status, got.text[:300])
        assert not world.trap.requests, name


def tunnel(world: Forward, *sent: bytes) -> list[Got]:
    """What is said in a tunnel to the trap."""
    with Wire(world.chain.port) as wire:
        where = f"127.0.0.1:{world.trap.port}"
        line = f"CONNECT {where} HTTP/1.1\r\nhost: {where}\r\n\r\n"
        assert wire.ask(line.encode(), "CONNECT").status == 200
        return [wire.ask(data) for data in sent]


@pytest.mark.full
def test_a_turn_in_a_tunnel_without_tls(world: Forward) -> None:
    good = request("/v1/responses", BODY, [("thread-id", "in a tunnel")], host="trap.example")
    got = tunnel(world, request("/v1/responses", BAD, host="trap.example"), good)
    assert [answer.status for answer in got] == [400, 200]
    assert not world.trap.requests
    (row,) = [row for row in world.journal() if row["thread"] == "in a tunnel"]
    assert row["state"] == "ok"


def test_a_host_by_another_spelling(world: Forward) -> None:
    """A dot at a name's end, and capitals, lead to the same host."""
    for host in ("LocalHost", "localhost.", "LOCALHOST.", "127.1", "2130706433", "0x7f.0.0.1"):
        url = f"http://{host}:{world.trap.port}/v1/responses"
        with Wire(world.chain.port) as wire:
            got = wire.ask(request(url, BAD))
        assert got.status == 400 and PHRASE not in got.text, (url, got.text[:300])
        assert "off limits" in got.text and not world.trap.requests, url


def test_what_is_no_turn_passes_as_it_is() -> None:
    with Forward("rules") as world:
        body = f"anything, {PHRASE} too".encode()
        with Wire(world.chain.port) as wire:
            got = wire.ask(request(f"{world.trap.url}/v1/files", body))
        assert got.status == 418 and body in world.trap.bytes
        assert not [row for row in world.journal() if row["thread"]]
