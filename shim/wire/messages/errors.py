"""Errors in the words of Anthropic's Messages API. Source: Anthropic's API reference (errors)."""

from __future__ import annotations

import msgspec

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


def error_body(
    message: str, *, status: int, type: str = "", code: str | None = None, param: str | None = None
) -> bytes:
    """An error answer that the SDKs turn into their exceptions; the field is named in the words."""
    said = f"{param}: {message}" if param and param not in message else message
    error = {"type": error_type(status), "message": said}
    return msgspec.json.encode({"type": "error", "error": error})
