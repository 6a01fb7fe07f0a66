"""Every turn has an end: the client is told in its own words, and there is a row, whatever comes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mitmproxy import http

from addons.account import Account
from shim.exchange.values import Outcome
from shim.policy.load import parse_policy
from tests.addons.harness import ANSWER, CODEX, TURN, Stages, error, stages, with_policy

__all__ = ["stages"]

SSE = {"content_type": "text/event-stream"}
JSON = {"content_type": "application/json"}
WHOLE = {**TURN, "stream": False}
OK = b'{"id":"resp_1","object":"response","status":"completed","output":[]}'
CHAT = {"id": "1", "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}


def row(stages: Stages) -> dict[str, Any]:
    (found,) = stages.services.rows
    return found


def test_a_turn_without_a_body_is_one(stages: Stages) -> None:
    subject = stages.send(stages.flow(b""))
    assert error(subject)[0] == 400
    stages.fire("response", subject)
    assert row(stages)["status"] == 400 and row(stages)["error"]


def test_what_is_refused_at_the_door_is_none(stages: Stages) -> None:
    subject = stages.send(stages.flow(TURN, host="evil.example"))
    stages.fire("response", subject)
    assert not stages.services.rows


@pytest.mark.parametrize("codex", [True, False])
@pytest.mark.parametrize("status", [201, 204, 206, 301, 302, 304, 307, 308])
def test_an_answer_that_no_client_takes_for_a_failure(
    stages: Stages, status: int, codex: bool
) -> None:
    """A redirect above all: who follows it sends the whole prompt there, past the policy."""
    subject = stages.send(stages.flow(WHOLE, **(CODEX if codex else {})))
    body = b"" if status in (204, 304) else OK
    stages.answer(subject, body, status, location="http://elsewhere.example/v1", **JSON)
    assert subject.response and "location" not in subject.response.headers
    if codex:
        assert b"response.failed" in (subject.response.content or b"")
    else:
        assert error(subject)[0] == 502
    assert row(stages)["status"] == status and str(status) in row(stages)["error"]


@pytest.mark.parametrize("status", [100, 101, 102, 103])
@pytest.mark.parametrize("path", ["/v1/responses", "/v1/models"])
def test_a_head_before_the_answer_is_no_answer(stages: Stages, path: str, status: int) -> None:
    """mitmproxy would give what follows to the next request, or make a tunnel of the connection."""
    turn = path == "/v1/responses"
    subject = stages.send(stages.flow(WHOLE if turn else None, path=path))
    assert subject.response is None
    # As mitmproxy does it: behind such a head there is no body.
    subject.response = http.Response.make(status, b"", {"upgrade": "x"})
    stages.fire("responseheaders", subject)
    subject.response.raw_content = b""
    stages.fire("response", subject)
    code, message = error(subject)
    assert code == 502 and str(status) in message
    assert subject.response.headers["connection"] == "close"
    if turn:
        assert row(stages)["status"] == 502


@pytest.mark.parametrize("streamed", [True, False])
def test_a_fault_at_the_head_of_an_answer_without_a_body(stages: Stages, streamed: bool) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("oops")

    with_policy(stages)
    next(s for s in stages.all if type(s).__name__ == "Translate").responseheaders = breaks
    stages.rebuild()
    subject = stages.send(stages.flow({**TURN, "stream": streamed}))
    subject.response = http.Response.make(200, b"", {"content-length": "0"})
    stages.fire("responseheaders", subject)
    # mitmproxy calls no stream function where nothing comes.
    subject.response.raw_content = b""
    stages.fire("response", subject)
    assert error(subject)[0] == 502
    assert subject.response.headers["content-length"] == str(len(subject.response.content or b""))


def test_the_fields_of_the_upstreams_connection_stay_there(stages: Stages) -> None:
    subject = stages.send(stages.flow(WHOLE))
    fields = {"connection": "close, x-mine", "keep_alive": "timeout=5", "x_mine": "1"}
    more = {"x_interpose_billed": "1", "transfer_encoding": "chunked", "x_theirs": "a\r\n b: c"}
    stages.answer(subject, OK, **JSON, **fields, **more)
    assert subject.response and subject.response.content == OK
    headers = subject.response.headers
    assert set(headers) == {"content-type", "x-theirs", "content-length"}
    assert headers["content-length"] == str(len(OK)) and headers["x-theirs"] == "a  b: c"


def test_what_an_observer_adds_may_be_no_text(stages: Stages) -> None:
    def adds(intake: Any, decision: Any, outcome: Outcome) -> Outcome:
        return outcome.with_(headers={"x-a": "a\ud800\r\nset-cookie: b"})

    stages.one(Account).response = adds
    stages.rebuild()
    subject = stages.send(stages.flow(WHOLE))
    stages.answer(subject, OK, **JSON)
    assert subject.response and subject.response.content == OK
    assert b"\r" not in dict(subject.response.headers.fields)[b"x-a"]
    assert row(stages)["status"] == 200


@pytest.mark.parametrize("streamed", [True, False])
def test_a_runner_that_breaks_at_the_end_still_has_one(
    stages: Stages, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_policy(stages)
    subject = stages.send(stages.flow({**TURN, "stream": streamed}))

    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr(stages.runner._answering, "_settled", breaks)
    if streamed:
        assert b"response.completed" in stages.answer(subject, ANSWER, **SSE)
    else:
        stages.answer(subject, json.dumps(CHAT).encode(), **JSON)
        assert error(subject)[0] == 502
    assert "broke" in row(stages)["error"]


def test_a_path_that_is_no_text_can_be_named_in_an_error(stages: Stages) -> None:
    for headers in ({}, CODEX):
        subject = stages.flow(WHOLE, **headers)
        subject.request.data.path = b"/\xff\xfe/v1/responses"
        stages.send(subject)
        stages.answer(subject, b"<title>Not Found</title>", 404, content_type="text/html")
        assert subject.response and b"gave 404 (Not Found)" in (subject.response.content or b"")
    for found in stages.services.rows:
        assert found["status"] == 404 and json.dumps(found).encode()


def test_a_turn_whose_answer_could_not_be_given_is_not_sent(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("oops")

    with_policy(stages)
    monkeypatch.setattr("shim.wire.translate.Translation.translator", breaks)
    status, message = error(stages.send(stages.flow(TURN)))
    assert status == 500 and "nothing was sent" in message


def test_a_key_that_comes_twice_is_in_no_row(stages: Stages) -> None:
    stages.services.policies.put(parse_policy("default: x\nmodels: {x: {provider: demo}}"))
    subject = stages.flow({**TURN, "model": "sk-first-0123456789"})
    own = [(b"x-api-key", b"sk-first-0123456789"), (b"x-api-key", b"sk-second-0123456789")]
    subject.request.headers = http.Headers([*subject.request.headers.fields, *own])
    run = stages.run(stages.send(subject))
    assert run.intake and run.intake.secrets >= {"sk-first-0123456789", "sk-second-0123456789"}
