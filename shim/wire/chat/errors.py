"""Errors in the words of Chat Completions: OpenAI's, as in the Responses API."""

from __future__ import annotations

from typing import Any

import msgspec

from ...turn import Failure
from ..responses.errors import CONTEXT, RETRY, error_body

__all__ = ["error_body", "error_chunk", "failed_event"]


def error_chunk(failure: Failure) -> dict[str, Any]:
    """The chunk of a stream that tells of ``failure``."""
    code = CONTEXT if failure.context else failure.code or RETRY
    kind = failure.type or RETRY
    return {"error": {"message": failure.message, "type": kind, "param": None, "code": code}}


def failed_event(failure: Failure, *, id: str, number: int, codex: bool) -> bytes:
    """The event that ends a stream that cannot go on."""
    return b"data: %b\n\n" % msgspec.json.encode(error_chunk(failure))
