"""Random requests: conversations of each protocol, with anything that may be wrong with them, then
with secrets and forbidden phrases in any string."""

from __future__ import annotations

import copy
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import brotli
import zstandard
from hypothesis import strategies as st

from tests.fuzz.case import CLIENTS, PATHS, Exchange
from tests.fuzz.known import Path, is_overlooked
from tests.fuzz.mutations import STYLES, edited, edits, one_in, places, written
from tests.fuzz.policy import DROPPED, MODELS, REFUSED, REPLACED, VALUE
from tests.fuzz.templates import TEMPLATES
from tests.unit.conversations import talks
from tests.unit.conversations import written as talk_of

#: Stands for the id of the answer to an earlier exchange of the session, by its number.
EARLIER = "@answer:{}"
#: Stands for the key with which a client comes.
OWN_KEY = "@own-key@"
_RANDOM = "Zx81Qm4vTb7Kd2Rw9Yc5Lf3Hs6Jg0Pn"
SECRETS = [
    *(f"CUST-40000{n}" for n in range(6)),
    *(f"sk-proj-{n}{_RANDOM}a1" for n in range(6)),
    VALUE,
    "host-4711",
]
#: What may be planted, and how often beside each other.
CHANGED = (REPLACED, DROPPED)
PHRASES = [*SECRETS, *SECRETS[:12], *REFUSED, *CHANGED, OWN_KEY]
_FRAMES = ("{}", "a {} b", "see {}.", "x={}", "\n{}\n", "{{{}}}")
_NAMES = [*MODELS, *MODELS, "m-responses:high", "chat:other", "nobody", "", "reverse:x", "demo:y"]


@st.composite
def bodies(draw: st.DrawFn, protocol: str, number: int, *, odd: int) -> bytes:
    """A request of ``protocol``, the ``number``-th of a session; up to ``odd`` odd things in it."""
    request = draw(
        st.one_of(
            _put_together(protocol, number), _put_together(protocol, number), _talked(protocol)
        )
    )
    if odd and draw(one_in(2)):
        request = edited(request, draw(edits(odd)))
    for _ in range(draw(st.integers(0, 2))):
        _plant(draw, request, number)
    body = written(request, draw(st.sampled_from(STYLES)))
    return draw(_damaged(body)) if odd and draw(one_in(20)) else body


@st.composite
def _put_together(draw: st.DrawFn, protocol: str, number: int) -> dict[str, Any]:
    field, items, tools, settings = TEMPLATES[protocol]
    request: dict[str, Any] = {"model": draw(st.sampled_from(_NAMES))}
    if not draw(one_in(4)):
        request["stream"] = True
    if protocol == "messages":
        request["max_tokens"] = 4096
    request[field] = draw(st.lists(st.sampled_from(items), min_size=1, max_size=5))
    if chosen := draw(st.lists(st.sampled_from(tools), max_size=3)):
        request["tools"] = chosen
    for name, value in draw(st.lists(st.sampled_from(settings), max_size=4)):
        request[name] = value
    if protocol == "responses":
        if number and draw(one_in(3)):
            request["previous_response_id"] = EARLIER.format(draw(st.integers(0, number - 1)))
        if draw(one_in(15)):
            request[field].append({"type": "compaction_trigger"})
        if draw(one_in(15)):
            request[field] = "just a text"
    return copy.deepcopy(request)


@st.composite
def _talked(draw: st.DrawFn, protocol: str) -> dict[str, Any]:
    """A whole conversation with calls, outputs and thoughts that belong together."""
    upstream = draw(st.sampled_from([*PATHS]))
    request = json.loads(talk_of(protocol, draw(talks(protocol)), upstream))
    assert isinstance(request, dict)
    request["model"] = draw(st.sampled_from(MODELS))
    request["stream"] = draw(st.booleans())
    return request


def _plant(draw: st.DrawFn, request: Any, number: int) -> None:
    """Put a phrase somewhere: into a string, in the place of one, or into a name."""
    phrase = draw(st.sampled_from(PHRASES))
    if phrase.startswith(("CUST", "sk-")):
        # Each exchange has its own, so that it can be seen whose it was.
        phrase = SECRETS[
            SECRETS.index(phrase) // 6 * 6 + (2 * number + draw(st.integers(0, 1))) % 6
        ]
    text = draw(st.sampled_from(_FRAMES)).format(phrase)
    found = list(places(request)) if isinstance(request, dict) else []
    if not found:
        return
    way, box, key = found[draw(st.integers(0, 400)) % len(found)]
    how = draw(st.integers(0, 2))
    for at, planted, plant in _ways_to_plant(way, box, key, text, how):
        masked = phrase in SECRETS
        if not is_overlooked(at, planted, masked=masked, changed=phrase in CHANGED):
            plant()
            return


def _ways_to_plant(
    way: Path, box: Any, key: Any, text: str, how: int
) -> Iterator[tuple[Path, str, Callable[[], object]]]:
    """What can be done at a place, each with the way to the string that it makes."""
    old = box[key]
    inner = _inner(old) if isinstance(old, str) and key in ("arguments", "input") else None
    if isinstance(inner, dict):
        made = json.dumps({**inner, text: [text]}, ensure_ascii=how == 1)
        yield way, made, partial(box.__setitem__, key, made)
    elif isinstance(old, str):
        # With a blank: in the middle of a word a key of known form is none.
        made = (text, f"{old} {text}", f"{text} {old}")[how]
        yield way, made, partial(box.__setitem__, key, made)
    elif isinstance(old, dict):
        if how:
            yield (*way, (text,)), text, partial(old.__setitem__, text, 1)
        yield (*way, "note"), text, partial(old.__setitem__, "note", text)
    elif isinstance(old, list):
        yield (*way, len(old)), text, partial(old.append, text)
    else:
        yield way, text, partial(box.__setitem__, key, text)


def _inner(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


@st.composite
def _damaged(draw: st.DrawFn, body: bytes) -> bytes:
    """Bytes that are no good JSON any more, or hardly."""
    at = draw(st.integers(0, len(body)))
    return draw(
        st.sampled_from(
            [
                b"\xef\xbb\xbf" + body,
                body[:at],
                body[:at] + b"\xff\xfe" + body[at:],
                body + b"\n\n",
                body + body,
                b"[" + body + b"]",
                body.decode("utf-8", "replace").encode("utf-16"),
                b"",
                b"null",
                b'{"model":"m-chat","model":"m-messages",' + body[1:],
                b'{"input":"the heron file","messages":"the heron file",' + body[1:],
            ]
        )
    )


def packed(body: bytes, coding: str) -> bytes:
    """``body`` in a content-encoding."""
    if coding == "gzip":
        return gzip.compress(body, mtime=0)
    if coding == "deflate":
        return zlib.compress(body)
    if coding == "br":
        return brotli.compress(body)
    if coding == "zstd":
        return zstandard.ZstdCompressor().compress(body)
    return body


def unpacked(body: bytes) -> bytes:
    """``body`` without the content-encoding that it seems to have."""
    try:
        if body[:2] == b"\x1f\x8b":
            return gzip.decompress(body)
        if body[:1] == b"x":
            return zlib.decompress(body)
        if body[:4] == b"\x28\xb5\x2f\xfd":
            return zstandard.ZstdDecompressor().decompress(body)
        return body if body[:1] in (b"{", b"[") else brotli.decompress(body)
    except (OSError, zlib.error, zstandard.ZstdError, brotli.error):
        return body


_CODINGS = ("",) * 12 + ("gzip", "gzip", "zstd", "zstd", "deflate", "br", "wrong", "rot13")
_HEADERS: list[tuple[str, str]] = [
    ("accept-language", "de"),
    ("x-interpose-account", "1"),
    ("anthropic-beta", "context-1m"),
    ("anthropic-version", "2023-06-01"),
    ("openai-organization", "org-of-the-client"),
    ("cookie", "session=cookie-of-the-client"),
    ("x-gateway-token", "gateway-token-of-the-client"),
    ("x-codex-turn-metadata", '{"turn_id":"turn-1","workspaces":{"/work/CUST-400005":{}}}'),
    ("x-note", "CUST-400004 and sk-proj-4Zx81Qm4vTb7Kd2Rw9Yc5Lf3Hs6Jg0Pna1"),
    ("user-agent", "aider/1"),
    ("thread-id", "thread-CUST-400004"),
    ("x-thread-id", f"thread of {OWN_KEY}"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
]
_ENDS = (
    "",
    "",
    "",
    "?x=1",
    "?key=query-key-of-the-client",
    "?a=CUST-400004",
    "/",
    "?interpose-tried=m-chat",
)


@st.composite
def exchanges(draw: st.DrawFn, protocol: str, number: int, *, odd: int = 3) -> Exchange:
    """The ``number``-th request of a session, by some client, without what is answered."""
    path = PATHS[protocol]
    body = draw(bodies(protocol, number, odd=odd))
    if protocol == "responses" and draw(one_in(20)):
        path += "/compact"
    elif protocol == "messages" and draw(one_in(12)):
        path += "/count_tokens"
    fields = dict(draw(st.lists(st.sampled_from(_HEADERS), max_size=2)))
    coding = draw(st.sampled_from(_CODINGS))
    if coding:
        fields["content-encoding"] = {"wrong": "gzip"}.get(coding, coding)
        body = packed(body, coding)
    return Exchange(
        body=body,
        path=path + draw(st.sampled_from(_ENDS)),
        who=draw(st.sampled_from([*CLIENTS])),
        fields=tuple(fields.items()),
        overlaps=draw(one_in(4)),
    )
