"""Odd answers of providers: heads, whole bodies, streams, and connections that break."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.e2e.answers import chat_turn, messages_turn, responses_turn
from tests.e2e.odd_upstream import Script
from tests.e2e.raw_http import chunked

TURNS = {"responses": responses_turn, "chat": chat_turn, "messages": messages_turn}
Ends = Literal["answer", "failure", "either"]


@dataclass(frozen=True)
class Reply:
    """``script`` answers a turn in ``protocol``. ``ends``: what the client gets, the model's answer
    or a failure; a ``stream`` was asked for or not. ``own``: mitmproxy answers for it, in HTML."""

    name: str
    protocol: str
    stream: bool
    script: Script
    ends: Ends = "failure"
    own: bool = False

    @property
    def model(self) -> str:
        """The model that answers so."""
        return f"{self.protocol}-{'stream' if self.stream else 'whole'}-{self.name}".replace(
            " ", "-"
        )


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


JSON = ("content-type", "application/json")
SSE = ("content-type", "text/event-stream")


def good(protocol: str, stream: bool) -> bytes:
    """The body of a good answer that says "fine words"."""
    return b"".join(TURNS[protocol]("fine words", (), (), stream).chunks)


def heads(protocol: str) -> list[Reply]:
    """Odd heads, of whole answers and of streams."""
    found: list[Reply] = []

    def add(
        name: str,
        stream: bool,
        *pieces: bytes,
        ends: Ends = "failure",
        then: Any = "stay",
        own: bool = False,
    ) -> None:
        found.append(Reply(name, protocol, stream, Script(pieces, then), ends, own))

    for stream in (False, True):
        body, kind = good(protocol, stream), SSE if stream else JSON
        error = json.dumps({"error": {"message": "slow down", "type": "rate_limit"}}).encode()
        for after in (
            "inf",
            "nan",
            "1e400",
            "-5",
            "9" * 400,
            "soon",
            "",
            "\x01",
            "Thu, 99 Foo 2026",
            "0x10",
        ):
            add(
                f"retry-after {after[:12]!a}".replace("\\", ""),
                stream,
                head(429, JSON, ("retry-after", after), length=len(error)) + error,
            )
        add(
            "retry-after-ms inf",
            stream,
            head(503, JSON, ("retry-after-ms", "inf"), length=len(error)) + error,
        )
        for coding in ("rot13", "base64", "snappy", "gzip, rot13"):
            add(
                f"encoding {coding}",
                stream,
                head(200, kind, ("content-encoding", coding), length=len(body)) + body,
            )
        packed = gzip.compress(body)
        add(
            "gzip",
            stream,
            head(200, kind, ("content-encoding", "gzip"), length=len(packed)) + packed,
            ends="answer",
        )
        add(
            "gzip broken",
            stream,
            head(200, kind, ("content-encoding", "gzip"), length=len(body)) + body,
        )
        add(
            "gzip cut",
            stream,
            head(200, kind, ("content-encoding", "gzip"), length=len(packed) - 9) + packed[:-9],
        )
        bomb = gzip.compress(b" " * (300 << 20), 9)
        add(
            "gzip bomb",
            stream,
            head(200, kind, ("content-encoding", "gzip"), length=len(bomb)) + bomb,
        )
        add(
            "error gzip broken",
            stream,
            head(500, JSON, ("content-encoding", "gzip"), length=len(error)) + error,
        )
        add(
            "length too long",
            stream,
            head(200, kind, length=len(body) + 50) + body,
            ends="either",
            then="end",
        )
        add(
            "length too short",
            stream,
            head(200, kind, length=len(body) - 20) + body,
            ends="either",
            then="end",
        )
        add("length odd", stream, head(200, kind, length="x") + body, own=True)
        add(
            "two lengths",
            stream,
            head(200, kind, ("content-length", "5"), length=len(body)) + body,
            own=True,
        )
        add(
            "length and chunks",
            stream,
            head(200, kind, length=5, chunks=True) + chunked(body),
            own=True,
        )
        add("length 0", stream, head(200, kind, length=0))
        add("no length", stream, head(200, kind) + body, ends="answer", then="end")
        add(
            "HTTP/1.0",
            stream,
            head(200, kind, version="HTTP/1.0") + body,
            ends="answer",
            then="end",
        )
        add(
            "HTTP/9.9",
            stream,
            head(200, kind, length=len(body), version="HTTP/9.9") + body,
            ends="either",
            own=True,
        )
        add("no HTTP", stream, b"hello\r\n\r\n", own=True, then="end")
        add(
            "102 before",
            stream,
            head(102),
            head(200, kind, length=len(body)) + body,
            ends="either",
            own=True,
        )
        add(
            "103 with it",
            stream,
            head(103, ("link", "<x>")) + head(200, kind, length=len(body)) + body,
            ends="either",
            own=True,
        )
        add(
            "100 before",
            stream,
            head(100) + head(200, kind, length=len(body)) + body,
            ends="either",
            own=True,
        )
        add("101", stream, head(101, ("upgrade", "x"), ("connection", "upgrade")) + body)
        add(
            "trailers",
            stream,
            head(200, kind, chunks=True) + chunked(body, end=b"0\r\nx-a: b\r\n\r\n"),
            ends="answer",
        )
        add(
            "a broken chunk",
            stream,
            head(200, kind, chunks=True) + b"zz\r\n" + body,
            ends="failure",
            own=True,
        )
        add(
            "a chunk too long",
            stream,
            head(200, kind, chunks=True) + b"%x\r\n%b" % (len(body) + 99, body),
            ends="either",
            then="end",
            own=True,
        )
        for status in (201, 204, 206, 299, 304, 305, 400, 418, 451, 499, 500, 599, 600, 999, 302):
            content = b"" if status in (204, 304) else body
            more = (
                (("location", "http://elsewhere.example/v1?key=a"),) if 300 <= status < 400 else ()
            )
            length = None if status in (204, 304) else len(content)
            add(
                f"status {status}",
                stream,
                head(status, kind, *more, length=length) + content,
                ends="either",
            )
        add("status 20", stream, head(20, kind, length=len(body)) + body, ends="either", own=True)
        add("no reason", stream, head(200, kind, length=len(body), reason="") + body, ends="answer")
        add("an odd reason", stream, head(500, JSON, length=len(error), reason="\x01\x7fé") + error)
        add(
            "a field with CR",
            stream,
            head(200, kind, ("x-a", b"b\rset-cookie: c"), length=len(body)) + body,
            ends="either",
            own=True,
        )
        add(
            "a field with NUL",
            stream,
            head(200, kind, ("x-request-id", b"b\0c"), length=len(body)) + body,
            ends="either",
            own=True,
        )
        add(
            "an id that is no text",
            stream,
            head(200, kind, ("x-request-id", b"\xff\xfe"), length=len(body)) + body,
            ends="answer",
        )
        add(
            "a field over lines",
            stream,
            head(200, kind, ("x-request-id", b"b\r\n c: d"), length=len(body)) + body,
            ends="either",
            own=True,
        )
        add(
            "a field's name with a blank",
            stream,
            head(200, kind, ("x a", "b"), length=len(body)) + body,
            own=True,
        )
        add(
            "two types",
            stream,
            head(200, ("content-type", "text/html"), kind, length=len(body)) + body,
            ends="either",
        )
        add("no type", stream, head(200, length=len(body)) + body, ends="either")
        add(
            "an odd type",
            stream,
            head(200, ("content-type", "\x01;;;=")) + body,
            ends="either",
            then="end",
            own=True,
        )
        add(
            "cookies and keys",
            stream,
            head(200, kind, ("set-cookie", "a=b"), ("x-interpose-billed", "1"), length=len(body))
            + body,
            ends="answer",
        )
        add(
            "a field of a megabyte",
            stream,
            head(200, kind, ("x-a", "a" * 1_000_000), length=len(body)) + body,
            ends="answer",
        )
    return found


def bodies(protocol: str) -> list[Reply]:
    """Odd whole bodies under a good head, for those who asked for a whole answer and for a stream."""
    answer: Any = json.loads(good(protocol, False))
    deep = b"[" * 3000 + b"]" * 3000
    texts: dict[str, bytes] = {
        "empty": b"",
        "blank": b"  \n",
        "no JSON": b"upstream connect error",
        "cut": json.dumps(answer).encode()[:-7],
        "null": b"null",
        "list": b"[]",
        "number": b"7",
        "string": b'"fine words"',
        "an empty object": b"{}",
        "deep": deep,
        "deep in it": json.dumps(answer).encode()[:-1] + b',"x":' + deep + b"}",
        "HTML": b"<html><title>Sign in</title><body>x</body></html>",
        "UTF-8 broken": json.dumps(answer).encode().replace(b"fine", b"fi\xff"),
        "BOM": b"\xef\xbb\xbf" + json.dumps(answer).encode(),
        "UTF-16": json.dumps(answer).encode("utf-16"),
        "lone surrogate": json.dumps(answer).encode().replace(b"fine", rb"fi\ud800"),
        "1e999": json.dumps(answer).encode()[:-1] + b',"x":1e999}',
        "NaN": json.dumps(answer).encode()[:-1] + b',"x":NaN}',
        "huge integer": json.dumps(answer).encode()[:-1] + b',"created":' + b"9" * 400 + b"}",
        "two objects": json.dumps(answer).encode() * 2,
        "an error": b'{"error":{"message":"no credit","type":"insufficient_quota"}}',
        "an error of odd types": b'{"error":{"message":[7,{"a":null}],"type":{},"code":[1]}}',
        "an error that is a number": b'{"error":7}',
        "a big body": json.dumps({**answer, "x": "y" * 3_000_000}).encode(),
    }
    odd: dict[str, Any] = {}
    for key in answer:
        for kind, value in (
            ("null", None),
            ("a number", 7),
            ("a list", [7]),
            ("a string", "x"),
            ("an object", {"a": 1}),
        ):
            odd[f"{key} is {kind}"] = {**answer, key: value}
    texts |= {name: json.dumps(value).encode() for name, value in odd.items()}
    return [
        Reply(name, protocol, stream, Script([head(200, JSON, length=len(text)) + text]), "either")
        for name, text in texts.items()
        for stream in (False, True)
    ]


def streams(protocol: str) -> list[Reply]:
    """Odd streams: cut, garbled, doubled, endless lines."""
    events = [e + b"\n\n" for e in good(protocol, True).split(b"\n\n") if e.strip()]
    found: list[Reply] = []

    def add(
        name: str,
        pieces: Sequence[bytes],
        ends: Ends = "either",
        then: Any = "stay",
        framed: bool = True,
    ) -> None:
        body = [p for p in pieces if p]
        sent = [head(200, SSE, chunks=True), *(chunked(p, end=b"") for p in body)]
        if framed:
            sent.append(b"0\r\n\r\n")
        found.append(Reply(name, protocol, True, Script(sent, then), ends))

    def at(place: int, *new: bytes) -> list[bytes]:
        return [*events[:place], *new, *events[place:]]

    whole = b"".join(events)
    half = len(events) // 2
    cuts: dict[str, Callable[[bytes], bytes]] = {
        "cut in the first event": lambda b: b[:20],
        "cut in the middle": lambda b: b[: len(b) // 2],
        "cut before the end": lambda b: b[:-30],
        "cut behind an event": lambda b: b"".join(events[:half]),
    }
    for name, cut in cuts.items():
        for then in ("end", "reset"):
            add(f"{name}, {then}", [cut(whole)], then=then, framed=False)
        add(f"{name}, well ended", [cut(whole)])
    for name, event in {
        "no JSON": b"data: hello\n\n",
        "cut JSON": b'data: {"a":\n\n',
        "UTF-8 broken": b'data: {"type":"x\xff"}\n\n',
        "a list": b"data: []\n\n",
        "a number": b"data: 7\n\n",
        "null": b"data: null\n\n",
        "an empty object": b"data: {}\n\n",
        "empty data": b"data:\n\n",
        "deep": b"data: " + b"[" * 3000 + b"]" * 3000 + b"\n\n",
        "a novel event": b'event: novel\ndata: {"type":"novel","a":[1]}\n\n',
        "a comment": b": hello\n\n",
        "a comment of a megabyte": b": " + b"x" * 1_000_000 + b"\n\n",
        "NUL": b"\0\0\0\n\n",
        "HTML": b"<html><title>Sign in</title></html>\n\n",
        "an error": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"too busy"}}\n\n',
        "an error of odd types": b'data: {"error":{"message":7,"code":[],"type":null}}\n\n',
        "a novel field": b"retry: 5\nid: 7\nfoo: bar\n\n",
        "a huge line": b'data: {"type":"novel","x":"' + b"y" * 2_000_000 + b'"}\n\n',
    }.items():
        add(f"{name} first", at(0, event))
        add(f"{name} in the middle", at(half, event))
        add(f"{name} last", at(len(events), event))
    add("an event twice", at(half, events[half]))
    add("the end first", [events[-1], *events])
    add("all twice", [*events, *events])
    add("no end", events[:-1])
    add("no last two", events[:-2])
    add("nothing", [])
    add("only a blank line", [b"\n\n"])
    add("two in one line", [whole.replace(b"}\n\ndata: {", b"}{", 1)])
    add("blank lines missing", [whole.replace(b"\n\n", b"\n")])
    add("CRLF", [whole.replace(b"\n", b"\r\n")], "answer")
    add("CR", [whole.replace(b"\n", b"\r")], "answer")
    add("BOM before", [b"\xef\xbb\xbf" + whole], "answer")
    add("no blank behind data", [whole.replace(b"data: ", b"data:")], "answer")
    add("byte by byte", [bytes([b]) for b in whole[:90]] + [whole[90:]], "answer")
    add("data behind the end", [*events, b'data: {"type":"more"}\n\n', b"garbage"])
    return found


def breaks(protocol: str) -> list[Reply]:
    """Connections that break before, in and behind the head."""
    found = []
    for stream in (False, True):
        body = good(protocol, stream)
        whole = head(200, SSE if stream else JSON, length=len(body)) + body
        half = whole[: len(whole) - len(body) // 2]
        for then in ("end", "reset"):
            found += [
                Reply(f"{then} before the head", protocol, stream, Script([], then), own=True),
                Reply(f"{then} in the head", protocol, stream, Script([whole[:25]], then), own=True),
                Reply(f"{then} behind the head", protocol, stream, Script([whole[: -len(body)]], then), own=True),
                Reply(f"{then} in the body", protocol, stream, Script([half], then), "either", own=True),
            ]  # fmt: skip
    return found
