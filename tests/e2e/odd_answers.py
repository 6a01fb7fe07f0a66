"""Odd heads of providers' answers, and connections that break; bodies and streams are beside it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from tests.e2e.answers import chat_turn, messages_turn, responses_turn
from tests.e2e.odd_upstream import Script
from tests.e2e.raw_http import chunked

TURNS = {"responses": responses_turn, "chat": chat_turn, "messages": messages_turn}
#: What the client gets: the model's answer, a failure, or whichever of both.
Ends = Literal["answer", "failure", "either"]
JSON = ("content-type", "application/json")
SSE = ("content-type", "text/event-stream")


@dataclass(frozen=True)
class Reply:
    """``script`` answers a turn in ``protocol``, for which a ``stream`` was asked, or not."""

    name: str
    protocol: str
    stream: bool
    script: Script
    ends: Ends = "failure"

    @property
    def model(self) -> str:
        """The model that answers so."""
        how = "stream" if self.stream else "whole"
        return f"{self.protocol}-{how}-{self.name}".replace(" ", "-")


def head(
    status: int | str = 200,
    *fields: tuple[str | bytes, str | bytes],
    length: int | str | None = None,
    chunks: bool = False,
    version: str = "HTTP/1.1",
    reason: str = "Odd",
) -> bytes:
    """The head of an answer."""
    given = [(_bytes(n), _bytes(v)) for n, v in fields]
    if length is not None:
        given.append((b"content-length", str(length).encode()))
    if chunks:
        given.append((b"transfer-encoding", b"chunked"))
    line = f"{version} {status} {reason}".encode()
    return b"\r\n".join([line, *(b"%b: %b" % field for field in given)]) + b"\r\n\r\n"


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


@cache
def good(protocol: str, stream: bool) -> bytes:
    """The body of a good answer that says "fine words"."""
    return b"".join(TURNS[protocol]("fine words", (), (), stream).chunks)


@cache
def _bomb() -> bytes:
    """More than an answer may unpack to."""
    return gzip.compress(b" " * (300 << 20), 9)


#: Statuses that answer a turn, and what becomes of them.
STATUSES: dict[int, Ends] = {
    **dict.fromkeys((201, 204, 206, 299, 302, 304, 305, 307), "failure"),
    **dict.fromkeys((400, 401, 418, 451, 499, 500, 599, 600, 999), "failure"),
}
_RETRY_AFTER = ("inf", "nan", "1e400", "-5", "9" * 400, "soon", "", "Thu, 99 Foo 2026", "0x10")


def heads(protocol: str) -> list[Reply]:
    """Odd heads, of whole answers and of streams."""
    found: list[Reply] = []
    error = json.dumps({"error": {"message": "slow down", "type": "rate_limit"}}).encode()

    def add(name: str, stream: bool, *pieces: bytes, ends: Ends = "failure", then: Any = "stay") -> None:
        found.append(Reply(name, protocol, stream, Script(pieces, then), ends))

    for stream in (False, True):
        body, kind = good(protocol, stream), SSE if stream else JSON
        packed, size = gzip.compress(body), len(body)
        for after in _RETRY_AFTER:
            add(f"retry-after {after[:12]}", stream, head(429, JSON, ("retry-after", after), length=len(error)) + error)
        add("retry-after-ms inf", stream, head(503, JSON, ("retry-after-ms", "inf"), length=len(error)) + error)
        for coding in ("rot13", "base64", "snappy", "gzip, rot13"):
            # Where nobody looks into a stream it passes as it is.
            ends: Ends = "either" if stream else "failure"
            add(f"encoding {coding}", stream, head(200, kind, ("content-encoding", coding), length=size) + body, ends=ends)
        gzipped = (kind, ("content-encoding", "gzip"))
        add("gzip", stream, head(200, *gzipped, length=len(packed)) + packed, ends="answer")
        add("gzip broken", stream, head(200, *gzipped, length=size) + body, ends="either" if stream else "failure")
        add("gzip cut", stream, head(200, *gzipped, length=len(packed) - 9) + packed[:-9], ends="either" if stream else "failure")
        add("gzip bomb", stream, head(200, *gzipped, length=len(_bomb())) + _bomb(), ends="either" if stream else "failure")
        add("error in broken gzip", stream, head(500, *gzipped, length=len(error)) + error)
        add("length too long", stream, head(200, kind, length=size + 50) + body, then="end", ends="either")
        add("length too short", stream, head(200, kind, length=size - 20) + body, then="end", ends="either")
        add("length odd", stream, head(200, kind, length="x") + body)
        add("two lengths", stream, head(200, kind, ("content-length", "5"), length=size) + body)
        add("length and chunks", stream, head(200, kind, length=5, chunks=True) + chunked(body))
        add("length 0", stream, head(200, kind, length=0))
        add("no length", stream, head(200, kind) + body, ends="answer", then="end")
        add("HTTP-1.0", stream, head(200, kind, version="HTTP/1.0") + body, ends="answer", then="end")
        add("HTTP-9.9", stream, head(200, kind, length=size, version="HTTP/9.9") + body, ends="answer")
        add("no HTTP", stream, b"hello\r\n\r\n", then="end")
        add("102 before", stream, head(102), head(200, kind, length=size) + body, ends="answer")
        add("103 with it", stream, head(103, ("link", "<x>")) + head(200, kind, length=size) + body, ends="answer")
        add("100 before", stream, head(100) + head(200, kind, length=size) + body, ends="answer")
        add("101", stream, head(101, ("upgrade", "x"), ("connection", "upgrade")) + body)
        add("trailers", stream, head(200, kind, chunks=True) + chunked(body, end=b"0\r\nx-a: b\r\n\r\n"), ends="answer")
        add("a broken chunk", stream, head(200, kind, chunks=True) + b"zz\r\n" + body)
        add("a chunk too long", stream, head(200, kind, chunks=True) + b"%x\r\n%b" % (size + 99, body), then="end", ends="either")
        for status, ends in STATUSES.items():
            empty = status in (204, 304)
            more = (("location", "http://elsewhere.example/v1?key=a"),) if 300 <= status < 400 else ()
            add(f"status {status}", stream, head(status, kind, *more, length=None if empty else size) + (b"" if empty else body), ends=ends)
        add("status 20", stream, head(20, kind, length=size) + body)
        add("no reason", stream, head(200, kind, length=size, reason="") + body, ends="answer")
        add("an odd reason", stream, head(500, JSON, length=len(error), reason="\x01\x7fé") + error)
        add("a field with CR", stream, head(200, kind, ("x-a", b"b\rset-cookie: c"), length=size) + body, ends="answer")
        add("a field with NUL", stream, head(200, kind, ("x-request-id", b"b\0c"), length=size) + body, ends="answer")
        add("an id that is no text", stream, head(200, kind, ("x-request-id", b"\xff\xfe"), length=size) + body, ends="answer")
        add("a field over lines", stream, head(200, kind, ("x-request-id", b"b\r\n c: d"), length=size) + body, ends="answer")
        add("a field's name with a blank", stream, head(200, kind, ("x a", "b"), length=size) + body)
        add("two types", stream, head(200, ("content-type", "text/html"), kind, length=size) + body, ends="answer")
        add("no type", stream, head(200, length=size) + body, ends="answer")
        add("an odd type", stream, head(200, ("content-type", "\x01;;;=")) + body, ends="answer", then="end")
        add("cookies", stream, head(200, kind, ("set-cookie", "a=b"), ("x-interpose-billed", "1"), length=size) + body, ends="answer")
        add("a field of a megabyte", stream, head(200, kind, ("x-a", "a" * 1_000_000), length=size) + body)
    return found


def breaks(protocol: str) -> list[Reply]:
    """Connections that break before, in and behind the head."""
    found = []
    for stream in (False, True):
        body = good(protocol, stream)
        whole = head(200, SSE if stream else JSON, length=len(body)) + body
        places = {
            "before the head": [],
            "in the head": [whole[:25]],
            "behind the head": [whole[: -len(body)]],
            "in the body": [whole[: len(whole) - len(body) // 2]],
        }
        for then in ("end", "reset"):
            for name, pieces in places.items():
                found.append(Reply(f"{then} {name}", protocol, stream, Script(pieces, then)))
    return found


Group = Callable[[str], list[Reply]]
