"""The chain under a test master, without a network: what each stage does to a flow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mitmproxy import ctx, exceptions, flow, http
from mitmproxy.io import FlowReader

from addons.flowfile import row_of
from addons.record import Record
from addons.replay import main as replay
from shim.policy.load import parse_policy
from shim.policy.rules import RedactRule
from tests.addons.harness import (
    ANSWER,
    CODEX,
    KEY,
    POLICY,
    TURN,
    Stages,
    error,
    stages,
    with_policy,
)
from tests.everything import everything

__all__ = ["stages"]


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"host": "evil.example"}, 403, "evil.example"),
        ({"host": "127.0.0.1.evil.example"}, 403, "served_hosts"),
        ({"origin": "https://evil.example"}, 403, "web pages"),
        ({"path": "/v1/respones"}, 404, "/v1/respones"),
        ({"upgrade": "websocket"}, 426, "WebSocket"),
        ({"content_length": "999999999"}, 413, "64m"),
        ({"body": b"nonsense"}, 400, "JSON"),
        ({"content_encoding": "gzip"}, 400, "gzip"),
    ],
)
def test_the_gate_refuses_in_the_clients_own_shape(
    stages: Stages,
    change: dict[str, Any],
    status: int,
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    subject = stages.send(stages.flow(**{"body": TURN, **change}))
    got, said = error(subject)
    assert got == status and words in said
    assert [r.getMessage() for r in caplog.records if f" · {status} · " in r.getMessage()]
    assert not stages.asked


def test_the_gate_lets_loopback_names_and_named_hosts_in(stages: Stages) -> None:
    ctx.options.update(served_hosts=["proxy.lan"])
    for host in ("localhost:8080", "127.0.0.1", "[::1]:8080", "proxy.lan:1"):
        assert stages.send(stages.flow(TURN, host=host)).response is None


def test_a_get_on_a_post_path_is_refused(stages: Stages) -> None:
    assert error(stages.send(stages.flow()))[0] == 405


def test_client_keys(stages: Stages) -> None:
    stages.access(keys=("right-key",))
    assert error(stages.send(stages.flow(TURN)))[0] == 401
    assert stages.send(stages.flow(TURN, x_api_key="right-key", authorization="")).response is None
    assert stages.send(stages.flow(TURN, authorization="Bearer right-key")).response is None
    assert stages.send(stages.flow(path="/health")).response.status_code == 200  # type: ignore[union-attr]


def test_without_a_policy_request_and_answer_pass_untouched(stages: Stages) -> None:
    body = json.dumps({**TURN, "client_metadata": {"x": "y"}}).encode()
    subject = stages.send(stages.flow(body, x_codex_window_id="w"))
    request = subject.request
    assert request.content == body and request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["x-codex-window-id"] == "w"
    assert (request.host, request.port, request.path) == ("127.0.0.1", 1, "/v1/responses")
    stream = b'data: {"type":"response.completed","response":{"id":"r"}}\n\n'
    assert stages.answer(subject, stream, content_type="text/event-stream") == stream


def test_a_chat_target_keeps_the_path_prefix_and_the_clients_key(stages: Stages) -> None:
    ctx.options.update(upstream="chat")
    subject = stages.send(stages.flow(TURN, path="/api/v1/responses", **CODEX))
    assert subject.request.path == "/api/v1/chat/completions"
    assert subject.request.headers["authorization"] == f"Bearer {KEY}"
    assert not [
        h for h in subject.request.headers if h.startswith(("x-codex", "thread", "session"))
    ]
    sent = stages.answer(subject, ANSWER, content_type="text/event-stream")
    assert b'"response.completed"' in sent and b'"text":"hello"' in sent


def test_a_policy_route_gets_its_own_key_and_nothing_private(stages: Stages) -> None:
    body = {**TURN, "client_metadata": {"cwd": "/home/x"}, "prompt_cache_key": "pk"}
    subject = with_policy(stages).send(stages.flow(body, x_codex_turn_metadata="{}", **CODEX))
    request = subject.request
    assert request.headers["authorization"] == f"Bearer {KEY}-policy"
    assert (request.port, request.path) == (9, "/v1/chat/completions")
    assert json.loads(request.content or b"")["model"] == "vendor/big"
    assert b"/home/x" not in (request.content or b"") and b"pk" not in (request.content or b"")
    assert {h.lower() for h in request.headers} <= {
        "accept",
        "content-type",
        "user-agent",
        "authorization",
        "host",
        "content-length",
    }


def test_a_body_that_passes_untouched_to_a_provider_keeps_its_length(stages: Stages) -> None:
    entry = "base_url: 'http://127.0.0.1:9/v1', key: any, protocol: responses"
    text = f"providers: {{up: {{{entry}}}}}\nmodels: {{m: {{provider: up}}}}"
    stages.services.policies.put(parse_policy(text))
    request = stages.send(stages.flow(TURN)).request
    assert json.loads(request.content or b"") == TURN
    assert request.headers["content-length"] == str(len(request.content or b""))


def test_a_missing_variable_is_named(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLANTED")
    status, said = error(with_policy(stages).send(stages.flow(TURN)))
    assert status == 401 and "PLANTED" in said


def test_codex_is_told_of_an_error_once_and_others_honestly(stages: Stages) -> None:
    ctx.options.update(upstream="chat")
    wrong = json.dumps({"error": {"message": "no such key", "type": "auth"}}).encode()
    told = stages.answer(stages.send(stages.flow(TURN, **CODEX)), wrong, 401)
    assert b"response.failed" in told and b"invalid_prompt" in told and b"no such key" in told
    other = stages.send(stages.flow(TURN))
    stages.answer(other, wrong, 401)
    assert error(other) == (401, "reverse: no such key (HTTP 401)")


@pytest.mark.parametrize("protocol", ["chat", "messages"])
def test_codex_is_told_of_an_error_in_the_protocol_it_speaks(stages: Stages, protocol: str) -> None:
    with_policy(stages)
    path = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}[protocol]
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    subject = stages.send(stages.flow({**body, "stream": True}, path=path, **CODEX))
    stages.answer(subject, b'{"error": {"message": "no such key"}}', 401)
    status, message = error(subject)
    assert status == 401 and "no such key" in message
    broken = stages.send(stages.flow({"model": 5}, path=path, **CODEX))
    assert error(broken)[0] == 400


def test_a_key_that_the_upstream_repeats_is_not_told(stages: Stages) -> None:
    wrong = json.dumps({"error": {"message": f"bad key {KEY}-policy"}}).encode()
    subject = with_policy(stages).send(stages.flow(TURN, **CODEX))
    assert KEY.encode() not in stages.answer(subject, wrong, 401)


def test_a_failure_before_the_answer_is_told_to_the_retry(stages: Stages) -> None:
    ctx.options.update(upstream="chat")
    first = stages.send(stages.flow(TURN, **CODEX))
    first.error = flow.Error("connection reset")
    stages.fire("error", first)
    other_thread = stages.send(stages.flow(TURN, user_agent="codex", thread_id="t2"))
    assert other_thread.response is None
    retry = stages.send(stages.flow(TURN, **CODEX))
    assert retry.response and b"connection reset" in (retry.response.content or b"")
    assert stages.send(stages.flow(TURN, **CODEX)).response is None


def test_a_failure_is_told_to_nobody_else(stages: Stages) -> None:
    """Not to a client with another key that asks the same, and to no page with secrets in it."""
    keys = "key-of-one-client", "key-of-another"
    stages.access(keys=keys)
    rule = RedactRule(name="customer", pattern="CUST-[0-9]+")
    stages.services.policies.put(msgspec.structs.replace(POLICY, redact=[rule]))
    named = {"authorization": f"Bearer {keys[0]}", "thread_id": "t1"}
    first = stages.send(stages.flow(TURN, **named))
    stages.answer(first, b'{"error": {"message": "CUST-4711 is overloaded"}}', 503)
    page = stages.send(stages.flow(path="/health", **named)).response
    assert page and b"is overloaded" in page.content and b"CUST-4711" not in page.content
    broken = stages.send(stages.flow(TURN, **named))
    broken.error = flow.Error("connection reset")
    stages.fire("error", broken)
    other = {**named, "authorization": f"Bearer {keys[1]}"}
    assert stages.send(stages.flow(TURN, **other)).response is None
    assert error(stages.send(stages.flow(TURN, **named)))[0] == 502


def test_an_unreachable_upstream_is_told_at_once(stages: Stages) -> None:
    async def refused(endpoint: tuple[str, str, int]) -> str:
        return "nothing listens at there (connection refused)"

    stages.router.probe.check = refused
    subject = stages.send(stages.flow(TURN, **CODEX))
    assert subject.response and b"nothing listens" in (subject.response.content or b"")


def test_an_answer_that_breaks_our_code_still_ends(stages: Stages) -> None:
    ctx.options.update(upstream="chat")
    subject = stages.send(stages.flow(TURN, **CODEX))
    subject.response = http.Response.make(200)
    subject.response.headers = http.Headers([(b"content-type", b"text/event-stream")])
    stages.fire("responseheaders", subject)
    passage = stages.run(subject).passage
    assert passage and passage.transcoder

    def broken(data: bytes) -> bytes:
        raise RuntimeError("oops")

    passage.transcoder.feed = broken  # type: ignore[method-assign]
    assert callable(subject.response.stream)
    assert b"response.failed" in b"".join(subject.response.stream(b"data: x\n\n"))


def test_health_and_models(stages: Stages) -> None:
    health = stages.send(stages.flow(path="/health")).response
    assert health and json.loads(health.content or b"")["status"] == "ok"
    with_policy(stages)
    codex = stages.send(stages.flow(path="/v1/models?client_version=0.169.0")).response
    assert codex and codex.headers["etag"]
    assert [m["slug"] for m in json.loads(codex.content or b"")["models"]] == ["big", "blind"]
    plain = stages.send(stages.flow(path="/v1/models")).response
    assert plain and [m["id"] for m in json.loads(plain.content or b"")["data"]] == ["big", "blind"]


def read(folder: Path) -> list[http.HTTPFlow]:
    with next(folder.glob("*.flow")).open("rb") as file:
        return [f for f in FlowReader(file).stream() if isinstance(f, http.HTTPFlow)]


def test_both_legs_are_recorded_without_keys_and_replay_to_the_same_bytes(
    stages: Stages, tmp_path: Path
) -> None:
    with_policy(stages)
    sent = stages.answer(
        stages.send(stages.flow({**TURN, "input": f"my key is {KEY}"}, **CODEX)),
        ANSWER,
        content_type="text/event-stream",
        set_cookie="secret-cookie",
    )
    broken = stages.send(stages.flow(TURN, **CODEX))
    stages.answer(broken, b'{"error": {"message": "no"}}', 404)
    stages.fire("done")
    client, upstream, *_ = read(tmp_path)
    assert client.response and client.response.content == sent
    assert upstream.response and upstream.response.content == ANSWER
    assert json.loads(client.request.content or b"")["input"] == "my key is [redacted]"
    assert upstream.request.path == "/v1/chat/completions"
    row = row_of(client)
    assert (row["leg"], row["thread"], row["model"]) == ("client", "t1", "m")
    assert row["exchange"] == row_of(upstream)["exchange"]
    assert row["decisions"] and row["route"]["model"] == "vendor/big"
    raw = everything(next(tmp_path.glob("*.flow")))
    assert KEY.encode() not in raw and b"secret-cookie" not in raw
    assert replay([str(tmp_path)]) == 0


def test_a_full_disk_loses_no_answer(stages: Stages, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ctx.options.update(record_dir=str(tmp_path / "file" / "sub"), upstream="chat")
    subject = stages.send(stages.flow(TURN, **CODEX))
    assert b"completed" in stages.answer(subject, ANSWER, content_type="text/event-stream")
    stages.fire("done")
    health = stages.send(stages.flow(path="/health")).response
    assert health and json.loads(health.content or b"")["status"] == "degraded"


def test_replay_says_what_is_wrong_with_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.flow").write_bytes(b"not a flow")
    assert replay([str(tmp_path)]) == 2 and "a.flow" in capsys.readouterr().err
    assert replay([str(tmp_path / "none.flow")]) == 2
    assert replay(["--policy", str(tmp_path / "a.flow"), str(tmp_path)]) == 2


def test_a_recorder_that_dies_takes_nothing_along(stages: Stages, tmp_path: Path) -> None:
    ctx.options.update(upstream="chat")
    writer = stages.one(Record)._writer
    states = []
    for dies in (True, False, False):
        subject = stages.send(stages.flow(TURN, **CODEX))
        assert b"completed" in stages.answer(subject, ANSWER, content_type="text/event-stream")
        stages.loop.run_until_complete(writer.settle())
        health = stages.send(stages.flow(path="/health")).response
        states.append(json.loads(health.content)["status"])  # type: ignore[union-attr, arg-type]
        if dies:
            writer._link.kill()
            stages.loop.run_until_complete(writer._link._process.wait())
    assert states == ["ok", "ok", "ok"]
    assert len(read(tmp_path)) == 6


def test_a_bad_option_while_running_is_refused_and_the_chain_goes_on(
    stages: Stages, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("models: [")
    stages.services.running = True
    for option in ({"policy": str(bad)}, {"body_limit": "much"}, {"allow_remote": True}):
        with pytest.raises(exceptions.OptionsError):
            ctx.options.update(**option)
    assert stages.send(stages.flow(TURN)).response is None
