"""A 404: whether it is about the address or a model, and what each client is told of it."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from shim.policy.schema import Protocol
from shim.route.choose import Route
from shim.turn import Failure
from shim.wire.address import endpoint, shown
from shim.wire.errors import http_failure
from shim.wire.protocols import PATHS, codec
from shim.wire.translate import Translation

URL = "https://up.example/v1/chat/completions"
PROTOCOLS = get_args(Protocol)


def gave(body: object, status: int = 404, url: str = URL, **more: Any) -> Failure:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    protocol = more.pop("protocol", "chat")
    kind = "text/html" if raw[:1] == b"<" else "application/json"
    at = endpoint(url, protocol, **more)
    return http_failure(status, {"content-type": kind}, raw, "up", at)


def error(message: str, **more: object) -> dict[str, object]:
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"detail": "Not Found"}, "(Not Found)"),
        ({"error": "Not Found", "status": 404, "path": "/v1/x"}, "(Not Found)"),
        (b"404 page not found", "(page not found)"),
        (b"", "(no message)"),
        (b"<html><title>404 Not Found</title><h1>404 Not Found</h1></html>", "(Not Found)"),
        (b"<html><title>All models, one API</title></html>", "(All models, one API)"),
        (b"<!DOCTYPE html><pre>Cannot POST /chat/completions</pre>", "Cannot POST"),
        (error("Resource not found", code="404"), "(Resource not found)"),
        (error("File Not Found", type="not_found_error", code=404), "(File Not Found)"),
        ({"type": "error", "error": {"type": "not_found_error", "message": "Not Found"}}, "Found)"),
        (error("Unknown request URL: POST /v1/models/x.", code="unknown_url"), "Unknown request"),
        (error("Invalid URL (POST /v1/chat/completions)", param=None), "Invalid URL"),
        ({"message": "no Route matched with those values"}, "no Route matched"),
        ({"code": 5, "error": "url.not_found", "message": "x"}, "(url.not_found)"),
        ({"error": 'path "/api/chat/completions" not found'}, "path "),
    ],
)
def test_an_address_that_is_none_is_named(body: object, words: str) -> None:
    failure = gave(body)
    assert failure.message.startswith(f"up: POST {URL} gave 404 (") and words in failure.message
    assert failure.message.endswith("; is base_url right, and does this server speak chat?")
    assert failure.address and not failure.retry and failure.status == 404


@pytest.mark.parametrize(
    "body",
    [
        error("The model `x-1` does not exist", code="model_not_found"),
        error('model "x-1" not found, try pulling it first', type="api_error"),
        {"object": "error", "message": "The model `x-1` does not exist.", "code": 404},
        {"type": "error", "error": {"type": "not_found_error", "message": "model: x-1"}},
        [error("models/x-1 is not found for API version v1main", code=404, status="NOT_FOUND")],
        error("No endpoints found for x-1.", code=404),
        error("No endpoints found matching your data policy", code=404),
        error("x-1 is not available here", code=404),
        error("Model not found, inaccessible, and/or not deployed", code="NOT_FOUND"),
        error("This is not a chat model and thus not supported in the endpoint", param="model"),
        error("Item with id 'rs_1' not found.", param="input"),
    ],
)
def test_a_model_that_is_not_there_keeps_the_providers_words(body: Any) -> None:
    failure = gave(body, model="x-1")
    assert "POST" not in failure.message and "base_url" not in failure.message
    inner = body[0] if isinstance(body, list) else body
    assert inner.get("error", inner)["message"] in failure.message and not failure.address


def test_a_short_name_of_a_model_is_no_word_of_the_sentence() -> None:
    assert gave({"detail": "Not Found"}, model="o").address
    assert not gave({"detail": "o: Not Found"}, model="o").address


@pytest.mark.parametrize(
    ("url", "protocol", "more", "end"),
    [
        ("http://h/chat/completions", "chat", {}, "; does base_url need /v1?"),
        ("http://h/api/chat/completions", "chat", {}, "; base_url ends in /api, and most end in /v1."),
        ("http://h/v1/chat/completions/chat/completions", "chat", {}, "/chat/completions; leave that out"),
        ("http://h/v1/models/responses", "responses", {}, "; base_url ends in /models; leave that out"),
        ("http://h/v1/messages/messages", "messages", {}, "; base_url ends in /messages; leave that out"),
        ("http://h/v1/messages", "messages", {}, "; protocol: messages asks /v1/messages; does this server speak chat?"),
        ("http://h/messages", "messages", {}, "need /v1? protocol: messages asks /messages; does this server speak chat?"),
        ("http://h/v1/responses", "responses", {"whose": "client"}, "; --set upstream=responses asks /v1/responses; does this server speak chat?"),
        ("http://h/chat/completions", "chat", {"whose": "client"}, "; does the client's base URL need /v1?"),
        ("http://h/backend-api/codex/responses", "responses", {"whose": "client"}, " gave 404 (Not Found)"),
        ("http://h/api/paas/v4/chat/completions", "chat", {}, "; is base_url right, and does this server speak chat?"),
        ("http://h/openai/deployments/d/chat/completions", "chat", {}, "; is the deployment that base_url names there?"),
        ("http://h/v1/chat/completions", "chat", {"whose": ""}, " gave 404 (Not Found)"),
    ],
)  # fmt: skip
def test_what_to_try(url: str, protocol: str, more: dict[str, Any], end: str) -> None:
    failure = gave({"detail": "Not Found"}, url=url, protocol=protocol, **more)
    assert failure.message.startswith(f"up: POST {url} gave 404") and failure.message.endswith(end)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            405,
            {"detail": "Method Not Allowed"},
            "gave 405 (Method Not Allowed); does base_url need",
        ),
        # LM Studio answers so with 200.
        (
            200,
            {"error": "Unexpected endpoint or method. (POST /chat/completions)"},
            "gave 200, but no model answer (Unexpected endpoint",
        ),
        (
            200,
            b"<html><title>Welcome</title></html>",
            "gave 200, but no model answer (Welcome); does",
        ),
    ],
)
def test_others_say_it_otherwise(status: int, body: object, words: str) -> None:
    failure = gave(body, status, "http://h/chat/completions")
    assert words in failure.message and failure.address


def test_a_success_with_an_error_in_it_is_about_that() -> None:
    failure = gave(error("Wrong key."), 200)
    assert failure.message == "up sent no model answer: Wrong key. (HTTP 200)"


@pytest.mark.parametrize(
    ("url", "base_url", "seen"),
    [
        ("https://u:p@h/v1/responses?key=abc", "", "https://h/v1/responses"),
        ("https://h:443/v1/responses", "", "https://h/v1/responses"),
        ("http://[::1]:8000/v1/responses", "", "http://[::1]:8000/v1/responses"),
        ("https://h/s3cret/v1/responses", "https://h/${TOKEN}/v1", "https://h/${TOKEN}/v1/responses"),
        ("https://h/s3cret/v1/models?limit=1", "https://h/${TOKEN}/v1/", "https://h/${TOKEN}/v1/models"),
        ("http://box:1/v1/responses", "${BASE}/v1", "http://box:1/v1/responses"),
        ("http://box:1/a/s3cret/responses", "${BASE}/${TOKEN}", "http://box:1/${TOKEN}/responses"),
        ("https://h/0123456789abcdef0123456789abcdef/v1/responses", "", "https://h/…/v1/responses"),
        ("https://h/" + "sk-" + "acme-12345678/v1/responses", "", "https://h/…/v1/responses"),
        ("https://h/openai/deployments/gpt-4o-mini-2024-07-18-prod/responses", "",
         "https://h/openai/deployments/gpt-4o-mini-2024-07-18-prod/responses"),
        ("http://h:99999/v1", "", "an address that cannot be read"),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_keys(url: str, base_url: str, seen: str) -> None:
    assert shown(url, base_url) == seen


def test_a_query_in_the_providers_words_goes_too() -> None:
    failure = gave(error("Invalid URL (POST /v1/x?key=abc&v=1)"), url=f"{URL}?key=abc")
    assert "abc" not in failure.message and "(Invalid URL (POST /v1/x))" in failure.message


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://new.example/v1", "redirects to https://new.example/v1; give that address as base_url"),
        ("https://new.example/v1/chat/completions?key=abc",
         "redirects to https://new.example/v1/chat/completions; give https://new.example/v1 as base_url"),
        ("/api/v1/chat/completions",
         "redirects to https://up.example/api/v1/chat/completions; give https://up.example/api/v1 as base_url"),
    ],
)  # fmt: skip
def test_a_redirect_names_the_base_url(location: str, words: str) -> None:
    failure = http_failure(308, {"location": location}, b"", "up", endpoint(URL, "chat"))
    assert words in failure.message and "abc" not in failure.message


def turn_of(protocol: str, *, stream: bool) -> bytes:
    asks = {"input": "hi"} if protocol == "responses" else {}
    asks = asks or {"messages": [{"role": "user", "content": "hi"}]}
    return json.dumps({"model": "m", "stream": stream, "max_tokens": 9, **asks}).encode()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("upstream", PROTOCOLS)
@pytest.mark.parametrize("client", PROTOCOLS)
def test_every_client_is_told_of_every_upstream(client: str, upstream: Any, stream: bool) -> None:
    turn = codec(client).read_request(turn_of(client, stream=stream))
    route = Route("up", upstream, "m", "m", "a test", "https://up.example")
    url = f"https://up.example{PATHS[upstream]}?key=abc"
    for codex in {False, client == "responses"}:
        translation = Translation(turn, route, codex=codex)
        translation.request()
        answer = translation.answer(
            translation.translator(), 404, {}, b'{"detail":"Not Found"}', url
        )
        assert answer and answer.body and answer.failure and answer.failure.address
        text = answer.body.decode()
        named = f"up: POST https://up.example{PATHS[upstream]} gave 404 (Not Found); does base_url"
        assert text.count(named) == 1 and "abc" not in text
        if codex:
            assert answer.status == 200 and text.count("response.failed") == 2
            assert '"code":"invalid_prompt"' in text
            continue
        assert answer.status == 404
        sent = json.loads(text)["error"]
        assert sent["message"].startswith(named) and sent["type"] == "not_found_error"
        # A model that is not there stays the provider's own business.
        body = b'{"error":{"message":"The model `m` does not exist","code":"model_not_found"}}'
        other = translation.answer(translation.translator(), 404, {}, body, url)
        assert other and other.failure and not other.failure.address
        assert (other.body is None) == (client == upstream)


@pytest.mark.parametrize(
    ("route", "end"),
    [
        (Route("reverse", "responses", "m", "m", "no policy", third_party=False), "does the client's base URL need /v1? --set upstream"),
        (Route("agent", "chat", "m", "m", "its name"), "gave 404 (Not Found)"),
        (Route("gpt", "responses", "m", "m", "its name", "https://up.example", login=True), "gave 404 (Not Found)"),
    ],
)  # fmt: skip
def test_advice_is_given_where_the_address_is_somebodys(route: Route, end: str) -> None:
    turn = codec("responses").read_request(turn_of("responses", stream=True))
    translation = Translation(turn, route, codex=True)
    url = f"https://up.example{PATHS[route.protocol]}"
    answer = translation.answer(translation.translator(), 404, {}, b'{"detail":"Not Found"}', url)
    assert answer and answer.failure
    assert end in answer.failure.message
    assert ("need /v1" in answer.failure.message) == (route.provider == "reverse")
