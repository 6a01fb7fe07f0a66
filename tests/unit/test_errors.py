"""What providers say when they fail, and the form in which each client is told."""

from __future__ import annotations

import json

import pytest

from shim.turn import Failure
from shim.wire.errors import http_failure, seconds
from shim.wire.responses.errors import failed_error
from shim.wire.responses.read_request import read_request
from shim.wire.translate import error_answer

TURN = read_request(b'{"model": "m", "input": "hi"}')


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error": {"message": "no such model", "type": "t", "code": "c"}}', "no such model"),
        ('{"error": "no such model"}', "no such model"),
        ('{"message": "no such model", "object": "error"}', "no such model"),
        ('{"detail": "no such model"}', "no such model"),
        ('{"detail": [{"loc": ["body"], "msg": "no such model"}]}', "no such model"),
        (
            '[{"error": {"code": 404, "message": "no such model", "status": "NOT_FOUND"}}]',
            "no such model",
        ),
        (
            '{"error": {"message": "Provider returned error", "metadata": {"raw": '
            '"{\\"error\\": {\\"message\\": \\"no such model\\"}}"}}}',
            "Provider returned error: no such model",
        ),
        ("<html><head><title>404 Not Found</title></head><body>x</body></html>", "404 Not Found"),
        ("no such model", "no such model"),
        ("", "no message"),
    ],
)
def test_the_providers_own_words_are_found(body: str, words: str) -> None:
    failure = http_failure(404, {}, body.encode(), "up")
    assert failure.message == f"up: {words} (HTTP 404)"
    assert not failure.retry


@pytest.mark.parametrize(
    ("headers", "message", "delay"),
    [
        ({"retry-after": "7"}, "", 7.0),
        ({"retry-after-ms": "1500"}, "", 1.5),
        (
            {
                "retry-after": "Fri, 20 Nov 2026 10:00:30 GMT",
                "date": "Fri, 20 Nov 2026 10:00:00 GMT",
            },
            "",
            30.0,
        ),
        ({"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT"}, "", None),
        ({}, "Please try again in 2.5s.", 2.5),
        ({}, "try again in 250ms", 0.25),
        ({}, "Please retry in 1m30s", 90.0),
        ({}, "retry after 20 seconds", 20.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, "", 360.0),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "6m0s"}, "", None),
        ({}, "slow down", None),
    ],
)
def test_the_delay_a_provider_asks_for(
    headers: dict[str, str], message: str, delay: float | None
) -> None:
    body = json.dumps({"error": {"message": message}}).encode()
    assert http_failure(429, headers, body, "up").delay == delay


def test_googles_retry_info() -> None:
    error = {"message": "quota", "details": [{"@type": "x"}, {"retryDelay": "34s"}]}
    assert http_failure(429, {}, json.dumps({"error": error}).encode(), "up").delay == 34.0


def test_seconds_of_nonsense() -> None:
    assert seconds("soon") is None and seconds("1h1m1s") == 3661.0


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, {"message": "bad"}, "invalid_prompt"),
        (401, {"message": "bad"}, "invalid_prompt"),
        (403, {"message": "bad"}, "invalid_prompt"),
        (404, {"message": "bad"}, "invalid_prompt"),
        (413, {"message": "bad"}, "invalid_prompt"),
        (422, {"message": "bad"}, "invalid_prompt"),
        (429, {"message": "bad"}, "rate_limit_exceeded"),
        (429, {"message": "bad", "code": "insufficient_quota"}, "invalid_prompt"),
        (429, {"message": "try again in 2h"}, "invalid_prompt"),
        (500, {"message": "bad"}, "server_error"),
        (503, {"message": "bad"}, "server_error"),
        (529, {"message": "bad"}, "server_error"),
        (400, {"message": "maximum context length is 10 tokens"}, "context_length_exceeded"),
        (400, {"message": "bad", "code": "context_length_exceeded"}, "context_length_exceeded"),
    ],
)
def test_the_form_for_codex(status: int, error: dict[str, str], code: str) -> None:
    failure = http_failure(status, {}, json.dumps({"error": error}).encode(), "up")
    said = failed_error(failure)
    assert said["code"] == code and error["message"] in said["message"]


def test_a_delay_stands_where_codex_reads_it() -> None:
    said = failed_error(Failure("up: busy", 503, delay=2.5, retry=True))
    assert said == {"code": "rate_limit_exceeded", "message": "up: busy Please try again in 2.5s."}


def test_other_clients_get_status_type_words_and_delay() -> None:
    body = b'{"error": {"message": "slow", "type": "rate_limit_error", "code": "rl"}}'
    failure = http_failure(429, {"retry-after": "7"}, body, "up")
    answer = error_answer(failure, TURN, codex=False)
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    error = json.loads(answer.body or b"")["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rl") and "slow" in error[
        "message"
    ]


@pytest.mark.parametrize(
    ("body", "retry"), [(b"", True), (b"<html><title>Sign in</title></html>", False)]
)
def test_a_success_that_is_no_answer(body: bytes, retry: bool) -> None:
    failure = http_failure(200, {"content-type": "text/html"}, body, "up")
    assert failure.retry is retry
    assert error_answer(failure, TURN, codex=False).status == 502
