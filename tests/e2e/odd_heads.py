"""Odd request heads and framings: paths, methods, fields, versions, lengths.

Each is the bytes of one request, or of several on one connection, and what the client gets: a
status of the chain's own, or of mitmproxy's, which refuses what is no HTTP by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.e2e.odd_bodies import OWN_KEY, SECRET, dumped, plain
from tests.e2e.raw_http import chunked, request

TURN = "/v1/responses"


@dataclass(frozen=True)
class Head:
    """``data`` is sent; ``status`` are those that fit, 0 for a connection that ends without an
    answer. ``foreign``: mitmproxy refuses it, before the chain has it. ``turn``: it is a turn, which
    the journal has. ``answers`` come."""

    name: str
    data: bytes
    status: frozenset[int]
    method: str = "POST"
    foreign: bool = False
    turn: bool = False
    answers: int = 1


def heads(key: str, protocol: str = "responses", model: str = "to-chat") -> list[Head]:
    """Odd heads of clients that have ``key``."""
    body = dumped(plain(protocol, model))
    allowed = ("authorization", f"Bearer {key}")

    def one(
        name: str,
        path: str | bytes,
        *status: int,
        fields: tuple[tuple[str | bytes, str | bytes], ...] = (),
        method: str = "POST",
        content: bytes = body,
        version: str = "HTTP/1.1",
        host: str | bytes | None = "127.0.0.1",
        sized: bool = True,
        foreign: bool = False,
        turn: bool = False,
        answers: int = 1,
        behind: bytes = b"",
    ) -> Head:
        made = request(
            path,
            content,
            [allowed, ("thread-id", f"head {name}"[:60]), *fields],
            method=method,
            version=version,
            host=host,
            sized=sized,
        )
        return Head(name, made + behind, frozenset(status), method, foreign, turn, answers)

    chunks = ("transfer-encoding", "chunked")
    return [
        # Paths.
        one("escaped path", "/v1/%72esponses", 404),
        one("all escaped", "/%76%31/%72%65%73%70%6f%6e%73%65%73", 404),
        one("escaped slash", "/v1%2fresponses", 404),
        one("double slashes", "//v1//responses", 200, turn=True),
        one("up and down", "/v1/responses/../responses", 200, turn=True),
        one("capitals", "/V1/RESPONSES", 404),
        one("a parameter", "/v1/responses;x=1", 404),
        one("a slash behind", "/v1/responses/", 200, turn=True),
        one("a dot behind", "/v1/responses/.", 404, 405),
        one("a fragment", "/v1/responses#x", 404),
        one("a query", f"/v1/responses?key={OWN_KEY}&api_key={SECRET}", 200, turn=True),
        one("a long query", "/v1/responses?" + "a" * 60_000, 200, turn=True),
        one("a question in the query", "/v1/files?/v1/responses", 404),
        one("NUL in the path", b"/v1/\0/responses", 400),
        one("no text in the path", b"/\xff\xfe/v1/responses", 200, turn=True),
        one("a backslash", "\\v1\\responses", 400, foreign=True),
        one("nothing", "/", 404),
        one("a star", "*", 400, method="OPTIONS", content=b""),
        one("no slash", "v1/responses", 400, foreign=True),
        one("a blank in the path", "/v1/resp onses", 400, foreign=True),
        one("absolute", "http://127.0.0.1:9/v1/responses", 200, turn=True),
        one("absolute, another host", "http://evil.example/v1/responses", 200, turn=True),
        one("absolute, https", "https://127.0.0.1/v1/responses", 200, turn=True),
        one("absolute, with a user", "http://u:p@127.0.0.1/v1/responses", 400, foreign=True),
        one("absolute, another scheme", "ftp://127.0.0.1/v1/responses", 400, foreign=True),
        # Methods.
        *(one(f"method {m}", TURN, 405, method=m) for m in ("PUT", "PATCH", "DELETE", "OPTIONS")),
        *(one(f"method {m}", TURN, 405, method=m, content=b"") for m in ("GET", "HEAD", "TRACE")),
        one("method post", TURN, 405, method="post"),
        one("a method of its own", TURN, 405, method="BREW"),
        one("a method with a comma", TURN, 405, method="PO,ST"),
        one("CONNECT", "127.0.0.1:9", 400, method="CONNECT", content=b"", sized=False, foreign=True),
        one("CONNECT elsewhere", "evil.example:443", 400, method="CONNECT", content=b"", sized=False, foreign=True),
        # Hosts.
        one("another host", TURN, 403, host="evil.example"),
        one("another host at our port", TURN, 403, host="127.0.0.1.evil.example"),
        one("no host", TURN, 403, host=None),
        one("no host's name", TURN, 403, host=""),
        one("a host that is no text", TURN, 403, host=b"\xff\xfe"),
        one("two hosts", TURN, 403, fields=(("host", "evil.example"),)),
        one("two hosts, ours last", TURN, 403, host="evil.example", fields=(("host", "127.0.0.1"),)),
        one("a host with a user", TURN, 403, host="127.0.0.1@evil.example"),
        one("a forwarded host", TURN, 200, fields=(("x-forwarded-host", "evil.example"),), turn=True),
        one("another origin", TURN, 403, fields=(("origin", "https://evil.example"),)),
        one("the origin null", TURN, 403, fields=(("origin", "null"),)),
        # Versions.
        one("HTTP/1.0", TURN, 200, version="HTTP/1.0", turn=True),
        one("HTTP/1.0 without a host", TURN, 403, version="HTTP/1.0", host=None),
        one("HTTP/2.0 in words", TURN, 200, version="HTTP/2.0", turn=True),
        one("HTTP/9.9", TURN, 200, version="HTTP/9.9", turn=True),
        one("HTTP/x", TURN, 400, version="HTTP/x", foreign=True),
        one("no version", TURN, 400, version="", foreign=True),
        # Lengths.
        one("chunked", TURN, 200, fields=(chunks,), sized=False, content=b"", behind=chunked(body, size=7), turn=True),
        one("a chunk's extension", TURN, 200, fields=(chunks,), sized=False, content=b"", behind=b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(body), body), turn=True),
        one("trailers", TURN, 200, fields=(chunks, ("trailer", "x-a")), sized=False, content=b"", behind=chunked(body, end=b"0\r\nx-a: b\r\n\r\n"), turn=True),
        one("a key in a trailer", TURN, 200, fields=(chunks,), sized=False, content=b"", behind=chunked(body, end=b"0\r\nauthorization: Bearer %b\r\n\r\n" % OWN_KEY.encode()), turn=True),
        one("length and chunks", TURN, 0, 400, fields=(chunks,), content=body, behind=chunked(body), foreign=True),
        one("two lengths", TURN, 400, fields=(("content-length", "5"),), foreign=True),
        one("a length of +5", TURN, 400, fields=(("content-length", "+5"),), sized=False, foreign=True),
        one("a length of -1", TURN, 400, fields=(("content-length", "-1"),), sized=False, foreign=True),
        one("a list of lengths", TURN, 400, fields=(("content-length", f"{len(body)}, {len(body)}"),), sized=False, foreign=True),
        one("a length too short", TURN, 400, fields=(("content-length", "20"),), sized=False, turn=True),
        one("gzip and chunks", TURN, 400, fields=(("transfer-encoding", "gzip, chunked"),), sized=False, content=b"", behind=chunked(b"\x1f\x8b\x08" + body), turn=True),
        one("chunks, then gzip", TURN, 400, fields=(("transfer-encoding", "chunked, gzip"),), sized=False, content=b"", foreign=True),
        one("an odd transfer-encoding", TURN, 400, fields=(("transfer-encoding", "xchunked"),), sized=False, content=b"", foreign=True),
        one("two transfer-encodings", TURN, 400, fields=(chunks, chunks), sized=False, content=b"", foreign=True),
        one("chunks of no size", TURN, 0, 400, fields=(chunks,), sized=False, content=b"", behind=b"zz\r\nx\r\n0\r\n\r\n", foreign=True),
        one("no length", TURN, 400, sized=False, content=b"", turn=True),
        one("100-continue", TURN, 200, fields=(("expect", "100-continue"),), turn=True),
        one("an odd expectation", TURN, 200, fields=(("expect", "the unexpected"),), turn=True),
        one("100-continue, refused", TURN, 403, host="evil.example", fields=(("expect", "100-continue"),)),
        # Fields.
        one("a field's name with a blank", TURN, 400, fields=((b"x a", "b"),), foreign=True),
        one("a field without a name", TURN, 400, fields=((b"", "b"),), foreign=True),
        one("a field's name that is no text", TURN, 400, fields=((b"x\xff", "b"),), foreign=True),
        one("a field with NUL", TURN, 400, fields=(("x-a", b"b\0c"),)),
        one("a field with CR", TURN, 400, fields=(("x-a", b"b\rc"),)),
        one("a field over lines", TURN, 400, fields=(("x-a", b"b\r\n x-b: c"),)),
        one("a thread over lines", TURN, 400, fields=(("session-id", b"b\r\n x-b: c"),)),
        one("a field that is no text", TURN, 200, fields=(("x-a", b"\xff\xfe\x80"),), turn=True),
        one("a hundred fields", TURN, 200, fields=tuple((f"x-{n}", "a" * 50) for n in range(100)), turn=True),
        one("a field of a megabyte", TURN, 431, fields=(("x-a", "a" * 1_000_000),), foreign=True),
        one("connection names fields", TURN, 200, fields=(("connection", "keep-alive, x-a"), ("x-a", "b")), turn=True),
        one("an upgrade to a WebSocket", TURN, 405, fields=(("connection", "upgrade"), ("upgrade", "websocket"))),
        one("an upgrade to h2c", TURN, 200, fields=(("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABkAAQAAP__")), turn=True),
        one("two authorizations", TURN, 200, fields=(("authorization", f"Bearer {OWN_KEY}"),), turn=True),
        one("an odd content type", TURN, 200, fields=(("content-type", "image/png"),), turn=True),
        # Several on one connection.
        one("two in one go", TURN, 200, behind=request(TURN, body, [allowed, ("thread-id", "second of two")]), turn=True, answers=2),
        one("garbage behind", TURN, 200, behind=b"garbage\r\n\r\n", turn=True),
        one("another host behind", TURN, 200, 403, behind=request(TURN, body, [allowed], host="evil.example"), turn=True, answers=2),
        one("an interpose header", TURN, 200, fields=(("x-interpose-account", "1"), ("x-interpose-back", "http://evil.example")), turn=True),
        Head("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello", frozenset({0}), foreign=True),
        Head("only a line end", b"\r\n\r\n", frozenset({0, 400}), foreign=True),
        Head("HTTP/2 at once", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frozenset({0, 400, 403, 404, 405}), foreign=True),
        Head("a head that breaks off", b"POST /v1/responses HTTP/1.1\r\nhost: 127.0.0.1\r\nauthoriz", frozenset({0}), foreign=True),
    ]  # fmt: skip
