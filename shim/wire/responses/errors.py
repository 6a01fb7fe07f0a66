"""Errors in the words of the Responses API, and in the one form that Codex handles well.

Source: codex-wire.md section 6. Codex retries most statuses up to 30 times and hides many messages,
so for Codex a failure is a 200 whose only event is ``response.failed`` with a code chosen for what
it makes Codex do.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...turn import Failure
from ..sse import encode as sse

#: Codex ends the turn at once and shows the message as it stands.
TERMINAL = "invalid_prompt"
#: Codex retries a few times with growing delays and shows the message.
RETRY = "server_error"
#: The same, after the delay that the message names.
RETRY_AFTER = "rate_limit_exceeded"
#: Codex says that the context is full, and makes room when it is compacting.
CONTEXT = "context_length_exceeded"

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


def failed_error(failure: Failure) -> dict[str, Any]:
    """The ``error`` of a ``response.failed`` event for Codex."""
    if failure.context:
        return {"code": CONTEXT, "message": failure.message}
    if not failure.retry:
        return {"code": TERMINAL, "message": failure.message}
    if failure.delay is not None:
        # Codex reads the delay out of the sentence; it knows s and ms.
        wait = f"try again in {failure.delay:.3f}".rstrip("0").rstrip(".") + "s"
        return {"code": RETRY_AFTER, "message": f"{failure.message} Please {wait}."}
    code = RETRY_AFTER if failure.status == 429 else RETRY
    return {"code": code, "message": failure.message}


def failed_stream(failure: Failure, seed: str) -> bytes:
    """A whole stream that tells Codex of ``failure``."""
    return failed_event(failure, id=seed, number=0, codex=True)


def failed_event(failure: Failure, *, id: str, number: int, codex: bool) -> bytes:
    """The event, numbered ``number``, that ends a stream that cannot go on."""
    response = {
        "id": f"resp_{id}",
        "object": "response",
        "status": "failed",
        "output": [],
        "error": failed_error(failure) if codex else error_object(failure),
    }
    event = {"type": "response.failed", "sequence_number": number, "response": response}
    return sse("response.failed", msgspec.json.encode(event)) + bye(codex)


def bye(codex: bool) -> bytes:
    """What ends a stream, whatever became of it."""
    # The Open Responses specification wants it; OpenAI's own API and Codex know no such line.
    return b"" if codex else b"data: [DONE]\n\n"


def error_object(failure: Failure) -> dict[str, Any]:
    """The error inside a stream for any other client: the provider's code and words."""
    code = CONTEXT if failure.context else failure.code or RETRY
    return {"code": code, "message": failure.message}


def error_body(
    message: str, *, status: int, type: str = "", code: str | None = None, param: str | None = None
) -> bytes:
    """An error answer in OpenAI's shape, which the SDKs turn into their exceptions."""
    kind = type or _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return msgspec.json.encode(
        {"error": {"message": message, "type": kind, "param": param, "code": code}}
    )
