"""Errors in the words of Anthropic's Messages API. Source: Anthropic's API reference (errors)."""

from __future__ import annotations

import msgspec

from ...turn import Failure
from ..responses.errors import CONTEXT
from ..sse import encode as sse

#: The type that the API gives a status; the SDKs choose their exceptions by the status.
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_type(status: int) -> str:
    """What the API calls an error of that status."""
    return _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def failure_error(failure: Failure) -> dict[str, str]:
    """The ``error`` of an error event inside a stream."""
    if failure.context:
        return {"type": "invalid_request_error", "message": context_words(failure.message)}
    status = failure.status or (529 if failure.retry else 400)
    return {"type": error_type(status), "message": failure.message}


def failed_event(failure: Failure, *, id: str, number: int, codex: bool) -> bytes:
    """The event that ends a stream that cannot go on."""
    return sse("error", msgspec.json.encode({"type": "error", "error": failure_error(failure)}))


def context_words(message: str) -> str:
    """A full context as the API words it: clients make room when they read it."""
    return message if "prompt is too long" in message else f"prompt is too long: {message}"


def error_body(
    message: str, *, status: int, type: str = "", code: str | None = None, param: str | None = None
) -> bytes:
    """An error answer that the SDKs turn into their exceptions; the field is named in the words."""
    said = f"{param}: {message}" if param and param not in message else message
    if code == CONTEXT:
        said = context_words(said)
    error = {"type": error_type(status), "message": said}
    return msgspec.json.encode({"type": "error", "error": error})
