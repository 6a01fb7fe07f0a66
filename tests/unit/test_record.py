"""Redaction, the summary line, and replay of recorded exchanges."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from addons.offline import Replayer
from shim.client import hostname, is_codex, is_loopback, secrets
from shim.policy.load import parse_policy
from shim.policy.schema import Policy
from shim.record import summary
from shim.record.redact import Redactor
from shim.record.replay import Difference, Message, Recorded
from shim.route.choose import Route
from shim.wire.responses.read_request import read_request
from shim.wire.translate import Translation
from tests.unit.fixtures import DONE, chunk

ROUTE = Route("up", "chat", "vendor/m", "m", "test")
SSE = {"content-type": "text/event-stream"}


def test_credentials_go_by_name_and_by_value() -> None:
    fields = [
        (b"Authorization", b"Bearer sk-12345678"),
        (b"X-Note", b"uses sk-12345678"),
        (b"A", b"b"),
    ]
    redact = Redactor(secrets((k.decode(), v.decode()) for k, v in fields))
    assert redact.headers(fields) == [
        (b"Authorization", b"[redacted]"),
        (b"X-Note", b"uses [redacted]"),
        (b"A", b"b"),
    ]
    assert redact.data(b"sk-12345678!") == b"[redacted]!"
    assert Redactor({"any"}).data(b"any man") == b"any man"


def test_who_is_calling() -> None:
    assert is_codex({"user-agent": "codex_exec/0.169.0"}) and is_codex({"x-codex-window-id": "t:0"})
    assert not is_codex({"user-agent": "OpenAI/Python"})
    assert [hostname(h) for h in ("LocalHost:80", "[::1]:80", "::1", "a.b")] == [
        "localhost",
        "::1",
        "::1",
        "a.b",
    ]
    assert all(map(is_loopback, ("localhost", "127.8.8.8", "::1", "::ffff:127.0.0.1")))
    assert not any(map(is_loopback, ("127.evil.example", "10.0.0.1", "", "127.0.0.1.evil.example")))


def test_the_summary_line() -> None:
    row = summary.Row(
        "e",
        "t",
        "m",
        summary.route_fields(ROUTE),
        True,
        True,
        200,
        2,
        {"input_tokens": 1234, "cached_tokens": 1000, "output_tokens": 5, "reasoning_tokens": 0},
        {"total": 1500.0, "first_byte": 1.0, "added": 1.0},
        [],
    )
    assert summary.told(msgspec.to_builtins(row)) == (
        "m → up/vendor/m · 200 · 1.50 s · in 1,234 (1,000 cached) out 5 · 2 tool calls"
    )


def recorded(
    upstream: bytes, status: int = 200, headers: dict[str, str] = SSE, **row: Any
) -> Recorded:
    body = json.dumps({"model": "m", "stream": True, "input": "hi"}).encode()
    translation = Translation(read_request(body), ROUTE, codex=True)
    translator = translation.translator()
    if translation.streams(status, headers):
        answer = translator.feed(upstream) + translator.close()
    else:
        answer = translation.answer(translator, status, headers, upstream).body or b""  # type: ignore[union-attr]
    comment = {"exchange": "e", "codex": True, "route": summary.route_fields(ROUTE), **row}
    return Recorded(
        comment,
        Message({}, body, path="/v1/responses"),
        Message(SSE, answer, status=200),
        Message({}, translation.request(), path="/v1/chat/completions"),
        Message(headers, upstream, status=status),
    )


def replay(exchange: Recorded, policy: Policy | None = None) -> list[Difference]:
    with Replayer(policy) as replayer:
        return replayer.run(exchange).differences


def test_what_was_recorded_replays_to_the_same_bytes() -> None:
    answer = chunk({"content": "hello"}, "stop") + DONE
    assert replay(recorded(answer)) == []
    assert replay(recorded(b'{"error": {"message": "no"}}', 401, {})) == []


def test_a_difference_is_shown_where_it_is() -> None:
    exchange = recorded(chunk({"content": "hello"}, "stop") + DONE)
    assert exchange.response
    changed = Message(SSE, exchange.response.body.replace(b"hello", b"hullo"), status=200)
    found = replay(
        Recorded(
            exchange.row,
            exchange.request,
            changed,
            exchange.upstream_request,
            exchange.upstream_response,
        )
    )
    assert [d.message for d in found] == ["answer to the client"]
    assert "hullo" in found[0].recorded and "hello" in found[0].today


def test_another_policy_makes_another_request() -> None:
    policy = parse_policy("models: {m: {provider: demo, model: other}}")
    found = replay(recorded(chunk({"content": "x"}, "stop") + DONE), policy)
    assert [d.message for d in found][:1] == ["upstream request"] and "other" in found[0].today
    unknown = parse_policy("models: {n: {provider: demo}}")
    assert "no model" in replay(recorded(DONE), unknown)[0].today


def test_a_recorded_request_that_is_no_turn_any_more_is_a_difference() -> None:
    exchange = recorded(chunk({"content": "x"}, "stop") + DONE)
    bad = Message({}, b'{"model": "m", "stream": true, "input": [3]}', path="/v1/responses")
    found = replay(Recorded(exchange.row, bad, exchange.response, exchange.upstream_request))
    assert [d.message for d in found] == ["upstream request"] and "input[0]" in found[0].today
