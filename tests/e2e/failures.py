"""Every way in which an upstream can fail, as scripted upstreams; and the table they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tests.e2e.answers import JSON, SSE, chat_chunk, chat_text, error, json_answer, sse
from tests.e2e.upstreams import Answer

Kind = Literal["hopeless", "retriable"]
Place = Literal["", "refused", "unknown-host", "bad-certificate", "not-tls"]


@dataclass(frozen=True)
class Failure:
    """One row. `answer` fails; `where` names an upstream that cannot be scripted instead.

    `words` must be shown to the user when it stays broken. `most` bounds the client's requests.
    `wait` is the delay in seconds that the upstream asks for.
    """

    name: str
    title: str
    kind: Kind
    words: str
    answer: Answer | None = None
    where: Place = ""
    most: int = 1
    wait: float = 0
    protocol: Literal["chat", "responses"] = "chat"


HTML = Answer(
    200,
    {"content-type": "text/html"},
    [b"<html><head><title>Captive portal</title></head><body>Please log in</body></html>"],
)
DELTAS = [chat_chunk({"role": "assistant", "content": "Let me "}), chat_chunk({"content": "see"})]
BROKEN_STREAM = Answer(200, SSE, sse(DELTAS, done=False), cut="body")
WRONG = {"message": "Failed to call a function.", "type": "invalid_request_error"}
WRONG_IN_STREAM = {"error": WRONG}
BUSY_IN_STREAM = {"error": {"message": "The engine is overloaded.", "type": "server_error"}}
CONTEXT = "This model's maximum context length is 8192 tokens, yours has 9000."


def _hopeless(name: str, title: str, words: str, answer: Answer) -> Failure:
    return Failure(name, title, "hopeless", words, answer)


def _unreachable(place: Place, title: str, words: str) -> Failure:
    return Failure(place, title, "hopeless", words, where=place)


def _retriable(name: str, title: str, words: str, answer: Answer, wait: float = 0) -> Failure:
    return Failure(name, title, "retriable", words, answer, most=6, wait=wait)


HOPELESS: Sequence[Failure] = [
    _hopeless("s400", "400", "Bad tools.", error(400, "Bad tools.", "invalid_request_error")),
    _hopeless("s401", "401", "Wrong key.", error(401, "Wrong key.", "authentication_error")),
    _hopeless("s403", "403", "Not in your region.", error(403, "Not in your region.")),
    _hopeless("s404", "404", "No such model: m.", error(404, "No such model: m.", "not_found")),
    _hopeless(
        "path",
        "404 at a path where nothing is",
        "/v1/chat/completions gave 404 (Not Found); is base_url right",
        json_answer(404, {"detail": "Not Found"}),
    ),
    _hopeless("s413", "413", "Payload too large.", error(413, "Payload too large.")),
    _hopeless(
        "s422",
        "422, with a list of details",
        "Field required",
        json_answer(422, {"detail": [{"loc": ["body", "messages"], "msg": "Field required"}]}),
    ),
    _hopeless(
        "quota",
        "429 insufficient_quota",
        "You have no credit left.",
        error(429, "You have no credit left.", "insufficient_quota", "insufficient_quota"),
    ),
    _hopeless(
        "long-wait",
        "429, Retry-After 3600",
        "Daily limit reached.",
        error(429, "Daily limit reached.", headers={"retry-after": "3600"}),
    ),
    _hopeless(
        "context",
        "400 context_length_exceeded",
        "ran out of room in the model's context window",
        error(400, CONTEXT, "invalid_request_error", "context_length_exceeded"),
    ),
    _hopeless(
        "redirect",
        "301 to another address",
        "redirects to https://new.invalid/v1",
        Answer(301, {"location": "https://new.invalid/v1"}),
    ),
    _hopeless("html", "200 with an HTML page", "Captive portal", HTML),
    _hopeless(
        "json-error",
        "200 with a JSON error",
        "Wrong key.",
        Answer(200, JSON, [b'{"error":{"message":"Wrong key.","type":"authentication_error"}}']),
    ),
    _hopeless(
        "error-event",
        "200, an error event in mid-stream that a retry cannot help",
        "Failed to call a function.",
        Answer(200, SSE, sse([*DELTAS, WRONG_IN_STREAM], done=False)),
    ),
    _hopeless(
        "error-first",
        "200, such an error event at once",
        "Failed to call a function.",
        Answer(200, SSE, sse([WRONG_IN_STREAM], done=False)),
    ),
    _unreachable("refused", "connection refused", "nothing listens at 127.0.0.1"),
    _unreachable("unknown-host", "unknown host", "the host no-such-host.invalid cannot be found"),
    _unreachable("bad-certificate", "bad certificate", "is not trusted: self-signed"),
    _unreachable("not-tls", "https:// to a server that has no TLS", "TLS"),
    Failure(
        "reset",
        "reset before the answer",
        "hopeless",
        "no answer came",
        Answer(cut="head"),
        most=2,
    ),
    Failure(
        "responses-401",
        "401 of a Responses upstream",
        "hopeless",
        "Wrong key.",
        error(401, "Wrong key.", "authentication_error"),
        protocol="responses",
    ),
    Failure(
        "responses-path",
        "404 of a server that has no Responses",
        "hopeless",
        "protocol: responses asks /v1/responses; does this server speak chat?",
        json_answer(404, {"detail": "Not Found"}),
        protocol="responses",
    ),
    Failure(
        "responses-refused",
        "connection refused by a Responses upstream",
        "hopeless",
        "nothing listens at 127.0.0.1",
        where="refused",
        protocol="responses",
    ),
]

SLOW_DOWN = "Too many requests."
RETRIABLE: Sequence[Failure] = [
    _retriable(
        "s429-after",
        "429, Retry-After 1",
        SLOW_DOWN,
        error(429, SLOW_DOWN, headers={"retry-after": "1"}),
        wait=1,
    ),
    _retriable(
        "s429-ms",
        "429, retry-after-ms 700",
        SLOW_DOWN,
        error(429, SLOW_DOWN, headers={"retry-after-ms": "700"}),
        wait=0.7,
    ),
    _retriable(
        "s429-text",
        "429, “try again in 600ms” in the text",
        SLOW_DOWN,
        error(429, f"{SLOW_DOWN} Please try again in 600ms."),
        wait=0.6,
    ),
    _retriable("s429", "429 without a delay", SLOW_DOWN, error(429, SLOW_DOWN)),
    _retriable("s500", "500", "Internal trouble.", error(500, "Internal trouble.")),
    _retriable("s502", "502", "Bad gateway here.", error(502, "Bad gateway here.")),
    _retriable("s503", "503", "Model is loading.", error(503, "Model is loading.")),
    _retriable(
        "s503-after",
        "503, Retry-After 1",
        "Model is loading.",
        error(503, "Model is loading.", headers={"retry-after": "1"}),
        wait=1,
    ),
    _retriable(
        "s529",
        "529",
        "Overloaded",
        json_answer(529, {"type": "error", "error": {"type": "overloaded_error",
                                                     "message": "Overloaded"}}),
    ),
    _retriable("empty", "200 with an empty body", "an empty answer", Answer(200, SSE)),
    _retriable("cut", "reset in mid-stream", "", BROKEN_STREAM),
    _retriable(
        "busy-event",
        "200, an error event in mid-stream that may pass",
        "The engine is overloaded.",
        Answer(200, SSE, sse([*DELTAS, BUSY_IN_STREAM], done=False)),
    ),
    Failure(
        "responses-500",
        "500 of a Responses upstream",
        "retriable",
        "Internal trouble.",
        error(500, "Internal trouble."),
        most=6,
        protocol="responses",
    ),
]

RECOVERED = chat_text("Recovered.")
