"""Odd bodies of turns in the three client protocols: odd bytes, odd encodings, odd values.

A body is a function of the model that is asked, so that each can be sent over every route.
"""

from __future__ import annotations

import base64
import codecs
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import brotli
import zstandard

PATHS = {"responses": "/v1/responses", "chat": "/v1/chat/completions", "messages": "/v1/messages"}
#: What the policy's rule refuses, and a key that its redaction must find.
PHRASE = "PROJECT-HERON-7"
SECRET = "sk-proj-Qm4x9TzL7wK2vB8nR5cY1dF6hJ3gA0sE" + "Pa1"
#: Some key of a client's own, in the place where its provider would find it.
OWN_KEY = "sk-client-own-Zr8Yt6Uw4Xv2Bn0Mq1Lp3Ko5"

Headers = tuple[tuple[str, str], ...]
Body = Callable[[str], bytes]


@dataclass(frozen=True)
class Odd:
    """One odd request. ``status`` are the statuses that fit; ``param`` is the field that a 400 has
    to name, where there is one."""

    name: str
    protocol: str
    body: Body
    headers: Headers = ()
    status: frozenset[int] = frozenset({200, 400})
    param: str | None = None
    path: str = ""
    words: str = ""

    @property
    def target(self) -> str:
        return self.path or PATHS[self.protocol]


def plain(protocol: str, model: str, text: str = "hello", **more: Any) -> dict[str, Any]:
    """A good request that says ``text``."""
    if protocol == "responses":
        return {"model": model, "input": [_said(text)], **more}
    message = {"role": "user", "content": text}
    if protocol == "chat":
        return {"model": model, "messages": [message], **more}
    return {"model": model, "max_tokens": 64, "messages": [message], **more}


def _said(text: str) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": text}],
    }


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def items_field(protocol: str) -> str:
    return "input" if protocol == "responses" else "messages"


def _refused(*status: int) -> frozenset[int]:
    return frozenset(status)


# ---- content encodings ----


def _rot13(data: bytes) -> bytes:
    return codecs.encode(data.decode(), "rot13").encode()


_BLANKS = 80 * 1024 * 1024


@cache
def _bomb(name: str = "gzip") -> bytes:
    if name == "br":
        return brotli.compress(b" " * _BLANKS, quality=1)
    return _zstd(b" " * _BLANKS) if name == "zstd" else gzip.compress(b" " * _BLANKS, 1)


@dataclass(frozen=True)
class Coding:
    name: str
    header: str
    pack: Callable[[bytes], bytes]
    status: frozenset[int]


def _zstd(data: bytes) -> bytes:
    return zstandard.compress(data)


CODINGS = [
    Coding("rot13", "rot13", _rot13, _refused(415)),
    Coding("base64", "base64", base64.b64encode, _refused(415)),
    Coding("unknown", "snappy", bytes, _refused(415)),
    Coding("utf-8", "utf-8", bytes, _refused(415)),
    Coding("gzip-good", "gzip", gzip.compress, _refused(200)),
    Coding("gzip-capitals", "GZIP", gzip.compress, _refused(200)),
    Coding("gzip-members", "gzip", lambda b: gzip.compress(b[:9]) + gzip.compress(b[9:]), _refused(200)),
    Coding("gzip-broken", "gzip", lambda b: b"\x1f\x8b\x08" + b, _refused(400)),
    Coding("gzip-cut", "gzip", lambda b: gzip.compress(b)[:-9], _refused(400)),
    Coding("gzip-behind", "gzip", lambda b: gzip.compress(b) + b"rest", _refused(400)),
    Coding("gzip-none", "gzip", bytes, _refused(400)),
    Coding("gzip-empty", "gzip", lambda b: b"", _refused(400)),
    Coding("gzip-bomb", "gzip", lambda b: _bomb(), _refused(413)),
    Coding("deflate-good", "deflate", zlib.compress, _refused(200)),
    Coding("deflate-broken", "deflate", lambda b: b"\x78\x9c" + b, _refused(400)),
    Coding("br-good", "br", brotli.compress, _refused(200)),
    Coding("br-broken", "br", lambda b: b"\xff" + b, _refused(400)),
    Coding("br-bomb", "br", lambda b: _bomb("br"), _refused(413)),
    Coding("zstd-good", "zstd", _zstd, _refused(200)),
    Coding("zstd-cut", "zstd", lambda b: _zstd(b)[:-3], _refused(400)),
    Coding("zstd-broken", "zstd", lambda b: b"\x28\xb5\x2f\xfd" + b, _refused(400)),
    Coding("zstd-bomb", "zstd", lambda b: _bomb("zstd"), _refused(413)),
    Coding("stacked", "gzip, br", lambda b: brotli.compress(gzip.compress(b)), _refused(200)),
    Coding("stacked-wrongly", "br, gzip", lambda b: brotli.compress(gzip.compress(b)), _refused(400)),
    Coding("stacked-bomb", "gzip, gzip", lambda b: gzip.compress(_bomb()), _refused(413)),
    Coding("stacked-odd", "gzip, rot13", gzip.compress, _refused(415)),
    Coding("identity", "identity", bytes, _refused(200)),
    Coding("commas", ", ,", bytes, _refused(200)),
]  # fmt: skip


def encodings(protocol: str) -> list[Odd]:
    """A good body under each content-encoding."""
    found = []
    for coding in CODINGS:

        def body(model: str, coding: Coding = coding) -> bytes:
            return coding.pack(dumped(plain(protocol, model)))

        headers = (("content-encoding", coding.header),)
        found.append(Odd(f"encoding {coding.name}", protocol, body, headers, coding.status))
    return found


# ---- bytes ----

_OPEN = {
    "responses": b'{"model":"%b","input":%b}',
    "chat": b'{"model":"%b","messages":%b}',
    "messages": b'{"model":"%b","max_tokens":9,"messages":%b}',
}
_MESSAGE = b'{"role":"user","content":%b}'


def _raw(protocol: str, items: bytes, more: bytes = b"") -> Body:
    """A body whose conversation is ``items``, and behind that ``more`` fields."""

    def body(model: str) -> bytes:
        made = _OPEN[protocol] % (model.encode(), items)
        return made[:-1] + more + b"}"

    return body


def _text(protocol: str, text: bytes) -> Body:
    return _raw(protocol, b"[" + _MESSAGE % text + b"]")


def odd_bytes(protocol: str) -> list[Odd]:
    """Bodies that are no JSON, or barely."""
    name = items_field(protocol)
    good = b"[" + _MESSAGE % b'"hello"' + b"]"

    def odd(what: str, body: Body, *status: int, param: str | None = None) -> Odd:
        return Odd(f"bytes {what}", protocol, body, (), _refused(*status or (200, 400)), param)

    def deep(depth: int) -> bytes:
        return b"[" * depth + b"]" * depth

    return [
        odd("empty", lambda m: b"", 400),
        odd("space", lambda m: b"  \n ", 400),
        odd("null", lambda m: b"null", 400),
        odd("list", lambda m: b"[]", 400),
        odd("string", lambda m: b'"hello"', 400),
        odd("number", lambda m: b"7", 400),
        odd("no JSON", lambda m: b"model=x&input=hello", 400),
        odd("cut", lambda m: _raw(protocol, good)(m)[:-5], 400),
        odd("behind it", lambda m: _raw(protocol, good)(m) + b"{}", 400),
        odd("BOM", lambda m: b"\xef\xbb\xbf" + _raw(protocol, good)(m)),
        odd("UTF-16", lambda m: _raw(protocol, good)(m).decode().encode("utf-16"), 400),
        odd("NUL before", lambda m: b"\0" + _raw(protocol, good)(m), 400),
        odd("NUL behind", lambda m: _raw(protocol, good)(m) + b"\0", 400),
        odd("NUL in a text", _text(protocol, b'"a\0b"')),
        odd("escaped NUL", _text(protocol, rb'"a\u0000b"'), 200),
        odd("control characters", _text(protocol, b'"a\x01\x02\nb"')),
        odd("UTF-8 broken in a text", _text(protocol, b'"a\xff\xfeb"')),
        odd("UTF-8 cut in a text", _text(protocol, b'"\xe2\x82"')),
        odd("UTF-8 overlong", _text(protocol, b'"\xc0\xaf"')),
        odd("UTF-8 surrogate", _text(protocol, b'"\xed\xa0\x80"')),
        odd("UTF-8 broken in a name", _raw(protocol, good, b',"a\xff":1')),
        odd("UTF-8 broken in a role", _raw(protocol, b'[{"role":"us\xffer","content":"x"}]')),
        odd("UTF-8 broken in a field", _raw(protocol, good, b',"user":"\xff"')),
        odd("UTF-8 broken in a model", lambda m: _raw(protocol, good)("\xff").replace(b"\xc3\xbf", b"\xff")),
        odd("lone surrogate", _text(protocol, rb'"a\ud800b"')),
        odd("lone surrogate in a field", _raw(protocol, good, rb',"user":"\udc00"')),
        odd("lone surrogate in a model", lambda m: _raw(protocol, good)(rb"x\ud800".decode()), 400, 404, 200),
        odd("two halves", _text(protocol, rb'"\ud83d\ude00"'), 200),
        odd("wrong escape", _text(protocol, rb'"\x41"'), 400),
        odd("1e999", _raw(protocol, good, b',"temperature":1e999')),
        odd("-1e999 in an item", _raw(protocol, b'[{"role":"user","content":"x","n":-1e999}]')),
        odd("NaN", _raw(protocol, good, b',"temperature":NaN'), 400),
        odd("Infinity", _raw(protocol, good, b',"top_p":-Infinity'), 400),
        odd("huge integer", _raw(protocol, good, b',"max_output_tokens":' + b"9" * 400)),
        odd("huge integer in an item", _raw(protocol, b'[{"role":"user","content":"x","n":%b}]' % (b"9" * 5000))),
        odd("number 01", _raw(protocol, good, b',"temperature":01'), 400),
        odd("field twice", _raw(protocol, good, b',"%b":%b' % (name.encode(), good))),
        odd("model twice", _raw(protocol, good, b',"model":"elsewhere"')),
        odd("role twice", _raw(protocol, b'[{"role":"system","content":"x","role":"user"}]')),
        *(odd(f"depth {n}", _raw(protocol, good, b',"metadata":' + deep(n))) for n in (100, 500, 900, 3000, 100_000)),
        *(odd(f"depth {n} in an item", _raw(protocol, b'[{"role":"user","content":"x","a":%b}]' % deep(n))) for n in (100, 500, 900, 3000)),
        odd("depth 3000 as the conversation", _raw(protocol, deep(3000))),
        odd("depth 900 as content", _raw(protocol, b"[" + _MESSAGE % deep(900) + b"]")),
        odd("capitals", lambda m: _raw(protocol, good)(m).replace(name.encode(), name.upper().encode()), 400),
        odd("spaces everywhere", lambda m: json.dumps(plain(protocol, m), indent=9).encode(), 200),
        odd("one megabyte", _text(protocol, b'"' + b"x" * 1_000_000 + b'"'), 200),
    ]  # fmt: skip


# ---- values ----

_VALUES: list[tuple[str, Any]] = [
    ("missing", ...),
    ("null", None),
    ("a number", 7),
    ("a list", []),
    ("a string", "x"),
    ("an object", {}),
    ("true", True),
]


def odd_values(protocol: str) -> list[Odd]:
    """A field of a good request has another type, or is not there."""
    name = items_field(protocol)
    found = []

    def add(what: str, change: Callable[[dict[str, Any]], None], *status: int) -> None:
        def body(model: str) -> bytes:
            value = plain(protocol, model)
            change(value)
            return dumped(value)

        found.append(Odd(f"value {what}", protocol, body, (), _refused(*status or (200, 400))))

    def setter(key: str, value: Any, *, item: bool = False) -> Callable[[dict[str, Any]], None]:
        def change(whole: dict[str, Any]) -> None:
            box = whole[name][0] if item else whole
            box[key] = value
            if value is ...:
                del box[key]

        return change

    for what, value in _VALUES:
        add(f"role is {what}", setter("role", value, item=True))
        add(f"content is {what}", setter("content", value, item=True))
        add(f"{name} is {what}", setter(name, value))
        add(f"model is {what}", setter("model", value), 200, 400, 404)
        add(f"tools is {what}", setter("tools", value if value is not ... else [7]))
        add(f"stream is {what}", setter("stream", value if value is not ... else "yes"))
        if value is not ...:
            add(f"an item is {what}", setter(name, [value]))
            add(f"a part is {what}", setter("content", [value], item=True))
            add(f"a tool is {what}", setter("tools", [value]))
    for role in ("critic", "", "System", "tool", "developer", "function", "user\n", "\u200buser"):
        add(f"role is {role!r}", setter("role", role, item=True))
    for key in ("temperature", "max_tokens", "tool_choice", "stop", "reasoning", "metadata"):
        for odd in ("x", [None], {"a": [1]}, -1):
            add(f"{key} is {odd!r}", setter(key, odd))
    return found
