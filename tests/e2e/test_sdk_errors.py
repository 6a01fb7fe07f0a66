"""Clients other than Codex get the honest error: the OpenAI SDK raises the right exception."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest
from openai.types.responses import Response

from tests.e2e.answers import chat_text, error
from tests.e2e.chain import Chain
from tests.e2e.upstreams import Answer, Seen, Upstream

ERRORS = {
    400: (openai.BadRequestError, error(400, "Bad tools.", "invalid_request_error")),
    401: (openai.AuthenticationError, error(401, "Wrong key.", "authentication_error", "bad_key")),
    403: (openai.PermissionDeniedError, error(403, "Not in your region.", "permission_error")),
    404: (openai.NotFoundError, error(404, "No such model.", "not_found_error")),
    429: (
        openai.RateLimitError,
        error(429, "Too many requests.", "rate_limit_error", headers={"retry-after": "7"}),
    ),
    500: (openai.InternalServerError, error(500, "Internal trouble.", "server_error")),
}


def script(seen: Seen) -> Answer:
    model = seen.json()["model"]
    return ERRORS[int(model)][1] if model.isdigit() else chat_text("All is well.")


@pytest.fixture(scope="module", params=["chat", "responses"])
def client(request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with Upstream(script) as upstream:
        with Chain(upstream.url, options={"upstream": request.param}) as chain:
            yield openai.OpenAI(base_url=chain.url, api_key="sk-x", max_retries=0, timeout=20)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", sorted(ERRORS))
def test_status_raises_its_exception(client: openai.OpenAI, status: int, stream: bool) -> None:
    expected, sent = ERRORS[status]
    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.create(model=str(status), input="hello", stream=stream)
    raised = caught.value
    assert type(raised) is expected
    assert raised.status_code == status
    words = openai_error(sent)
    assert isinstance(raised.body, dict)
    assert words["message"] in raised.body["message"]
    assert raised.body["type"] == words["type"]
    assert raised.body.get("code") == words["code"]
    if status == 429:
        assert raised.response.headers["retry-after"] == "7"


def openai_error(answer: Answer) -> dict[str, str | None]:
    inner: dict[str, str | None] = json.loads(b"".join(answer.chunks))["error"]
    return inner


def test_retry_after_ms_reaches_the_client_in_seconds() -> None:
    """The delay keeps a form that any client knows."""
    busy = error(429, "Too many requests.", headers={"retry-after-ms": "1500"})
    with Upstream([busy]) as upstream, Chain(upstream.url, options={"upstream": "chat"}) as chain:
        body = {"model": "m", "input": "hello"}
        answer = chain.post("/v1/responses", json=body, headers={"authorization": "Bearer k"})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "2"


def test_dead_upstream_is_a_502_with_words() -> None:
    with Chain("http://127.0.0.1:9", options={"upstream": "chat"}) as chain:
        client = openai.OpenAI(base_url=chain.url, api_key="sk-x", max_retries=0, timeout=20)
        with pytest.raises(openai.InternalServerError) as caught:
            client.responses.create(model="m", input="hello")
    assert caught.value.status_code in (502, 503)
    assert "refused" in caught.value.message


@pytest.mark.full
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_good_answer(stream: bool) -> None:
    with Upstream(script) as upstream:
        with Chain(upstream.url, options={"upstream": "chat"}) as chain:
            client = openai.OpenAI(base_url=chain.url, api_key="sk-x", max_retries=0, timeout=20)
            if stream:
                with client.responses.stream(model="m", input="hello") as events:
                    assert_well(events.get_final_response())
            else:
                assert_well(client.responses.create(model="m", input="hello"))


def assert_well(response: Response) -> None:
    assert response.output_text == "All is well."
    assert response.usage is not None and response.usage.total_tokens == 10
