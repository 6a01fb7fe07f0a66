"""What a client of each protocol would make of what it got: an answer, a failure, or neither."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any, Literal

from shim.wire.sse import SSEDecoder
from tests.e2e.raw_http import Got

#: "broken": the connection ended before the answer; "garbage": no client of the protocol reads it.
Verdict = Literal["answer", "failure", "broken", "garbage"]

_ENDS = ("response.completed", "response.incomplete", "message_stop")
_FAILED = ("response.failed", "error")


def judge(got: Got, protocol: str, *, stream: bool) -> Verdict:
    """What ``got`` is for a client of ``protocol`` that has asked for a stream, or not."""
    if got.status == 0 or not got.whole:
        return "broken"
    try:
        body = got.body
        if got.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
    except (EOFError, OSError, zlib.error):
        return "garbage"
    if got.status >= 400:
        return "failure" if _is_error(body, protocol) else "garbage"
    if got.status != 200:
        return "garbage"
    if "event-stream" in got.headers.get("content-type", "") or stream:
        return _stream(body)
    return _whole(body, protocol)


def _is_error(body: bytes, protocol: str) -> bool:
    """Whether a body with an error status says why; a provider's own words pass."""
    value = _json(body)
    if value is None:
        return bool(body.strip())
    return isinstance(value, dict) and bool(value)


def _whole(body: bytes, protocol: str) -> Verdict:
    value = _json(body)
    if not isinstance(value, dict):
        return "garbage"
    fields = {"responses": "output", "chat": "choices", "messages": "content"}
    if fields[protocol] in value and value.get("status") != "failed":
        return "answer"
    return "failure" if value.get("error") else "garbage"


def _stream(body: bytes) -> Verdict:
    decoder = SSEDecoder()
    events = [*decoder.feed(body), *decoder.close()]
    verdict: Verdict = "garbage"
    for name, data in events:
        if name is None:
            continue
        if data == b"[DONE]":
            verdict = "answer" if verdict == "garbage" else verdict
            continue
        value = _json(data)
        if not isinstance(value, dict):
            # The official SDKs raise at such an event.
            return "garbage"
        kind = value.get("type")
        if kind in _FAILED or value.get("error"):
            return "failure"
        if kind in _ENDS or _finished(value):
            verdict = "answer"
    return verdict


def _finished(value: dict[str, Any]) -> bool:
    choices = value.get("choices")
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and choice.get("finish_reason") for choice in choices
    )


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
