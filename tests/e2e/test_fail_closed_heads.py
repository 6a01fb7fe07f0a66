"""Odd request heads and framings: through a chain with rules before a trap, and through one without
a policy, whose target sees only what the last stage has made.

What mitmproxy itself refuses, since it is no HTTP, is marked `foreign` in the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.chain import Chain
from tests.e2e.fail_closed import CHAIN_KEY, World, check_error, journal
from tests.e2e.odd_bodies import OWN_KEY, dumped, plain
from tests.e2e.odd_heads import Head, heads
from tests.e2e.raw_http import Got, Wire, request
from tests.e2e.raw_http import ask as one
from tests.e2e.trap import Trap

ANSWER = b'{"id":"resp_1","object":"response","status":"completed","output":[]}'
OK = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n%b" % (len(ANSWER), ANSWER)
)
HEADS = heads(CHAIN_KEY)
#: Fields that no target may see.
HOP = {
    "connection", "keep-alive", "te", "trailer", "upgrade", "http2-settings", "expect",
    "proxy-authorization", "transfer-encoding",
}  # fmt: skip


@dataclass
class Seen:
    """What came of one head: the answers, what the target or the provider got, whether it is in
    the journal."""

    answers: list[Got]
    sent: list[bytes] = field(default_factory=list)
    row: dict[str, Any] | None = None


def ask(port: int, head: Head) -> list[Got]:
    # Where no answer fits, none is waited for.
    with Wire(port, 1 if 0 in head.status else 10) as wire:
        return [
            wire.ask(head.data, head.method),
            *(wire.receive(head.method) for _ in range(head.answers - 1)),
        ]


def with_rows(found: dict[str, Seen], rows: list[dict[str, Any]]) -> dict[str, Seen]:
    by_thread = {row["thread"]: row for row in rows}
    for name, seen in found.items():
        seen.row = by_thread.get(f"head {name}"[:60])
    return found


@pytest.fixture(scope="module")
def ruled() -> Iterator[tuple[World, dict[str, Seen]]]:
    with World("rules") as world:
        found = {head.name: Seen(ask(world.chain.port, head)) for head in HEADS}
        yield world, with_rows(found, world.journal())


@pytest.fixture(scope="module")
def bare() -> Iterator[dict[str, Seen]]:
    with Trap(OK) as target, Chain(target.url, keys=[CHAIN_KEY]) as chain:
        found = {}
        for head in HEADS:
            count = len(target.requests)
            seen = found[head.name] = Seen(ask(chain.port, head))
            seen.sent = target.requests[count:]
        assert "crashed" not in chain.log() and "Traceback" not in chain.log()
        yield with_rows(found, journal(chain))


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.name)
def test_under_rules(ruled: tuple[World, dict[str, Seen]], head: Head) -> None:
    seen = ruled[1][head.name]
    for got in seen.answers:
        assert got.status in head.status, (got.status, got.text[:300])
        assert got.whole or got.status == 0
        if got.status >= 400 and head.method != "HEAD":
            assert check_error(got, "any")
    assert (seen.row is not None) == head.turn, seen.row
    if seen.row:
        failed = seen.answers[0].status >= 400
        assert seen.row["state"] == ("failed" if failed else "ok"), seen.row


def test_nothing_came_to_the_trap(ruled: tuple[World, dict[str, Seen]]) -> None:
    world = ruled[0]
    assert not world.trap.requests
    assert "crashed" not in world.chain.log() and "Traceback" not in world.chain.log()
    for seen in world.upstream.seen:
        told = f"{seen.path}\n{seen.headers}"
        assert OWN_KEY not in told and CHAIN_KEY not in told and "x-interpose" not in told.lower()
        assert seen.body and not seen.headers["transfer-encoding"]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.name)
def test_without_a_policy(bare: dict[str, Seen], head: Head) -> None:
    seen = bare[head.name]
    assert (seen.row is not None) == head.turn
    for sent in seen.sent:
        first, _, rest = sent.partition(b"\r\n")
        head_bytes, _, body = rest.partition(b"\r\n\r\n")
        method, path, version = first.split(b" ")
        fields = [line.split(b": ", 1) for line in head_bytes.split(b"\r\n")]
        names = [name.decode().lower() for name, _ in fields]
        assert method == b"POST" and path.startswith(b"/") and version in (b"HTTP/1.1", b"HTTP/1.0")
        assert names.count("host") == names.count("content-length") == 1
        assert not HOP & set(names) and not [n for n in names if n.startswith("x-interpose")]
        assert CHAIN_KEY.encode() not in sent
        assert not [value for _, value in fields if set(value) & set(b"\r\n\0")]
        named = dict(fields)
        assert len(body) == int(named.get(b"content-length") or b"-1")
        assert body == dumped(plain("responses", "to-chat"))
    if not head.turn or seen.answers[0].status >= 400:
        assert not seen.sent


OTHERS = [
    ("GET", f"/v1/models?key={CHAIN_KEY}&limit=2", b""),
    ("GET", "/v1/responses/resp_1", b""),
    ("DELETE", "/v1/responses/resp_1?x=1", b""),
    ("POST", "/v1/responses/compact", dumped(plain("responses", "m"))),
    ("POST", "/v1/messages/count_tokens", dumped(plain("responses", "m"))),
]


@pytest.mark.parametrize(("method", "path", "body"), OTHERS)
def test_the_other_paths_without_a_policy(method: str, path: str, body: bytes) -> None:
    """The list of models, stored responses, compaction and the count of tokens."""
    fields = [("x-api-key", CHAIN_KEY), ("authorization", f"Bearer {OWN_KEY}"), ("te", "trailers")]
    fields += [("connection", "x-a"), ("x-a", "b"), ("x-interpose-account", "1")]
    with Trap(OK) as target, Chain(target.url, keys=[CHAIN_KEY]) as chain:
        got = one(chain.port, request(path, body, fields, method=method), method)
        if "count_tokens" in path:
            # No request of Messages: it is refused, and names the field.
            assert got.status == 400 and "messages" in check_error(got, "messages")
            assert not target.requests
            return
        assert got.status == 200 and got.body == ANSWER
        (sent,) = target.requests
        head = sent.partition(b"\r\n\r\n")[0].lower()
        assert CHAIN_KEY.lower().encode() not in head and OWN_KEY.lower().encode() in head
        for name in (b"x-interpose", b"\r\nx-a:", b"\r\nte:", b"\r\nconnection:"):
            assert name not in head
