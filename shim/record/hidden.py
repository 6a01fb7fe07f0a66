"""Where a secret hides from a search of the bytes: Base64, URLs, needless escapes, pictures, and
the pieces in which a stream says it.

Strategy: everything that may hide something is decoded and put together, and searched once. Only
where that finds something each place is looked at by itself.
"""

from __future__ import annotations

import base64
import binascii
import json
import string
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec
import re2

from ..policy.match import pattern_options
from .deltas import as_stream, cut, pieces_of, said
from .pictures import BEGINNINGS, stripped
from .sanitise import written

type Hide = Callable[[bytes], bytes]
#: What it returns is as long as what it was given.
type Fill = Callable[[bytes], bytes]
type Spans = Callable[[bytes], list[tuple[int, int]]]


def _pattern(source: bytes) -> Any:
    # RE2 walks a long body some fifteen times as fast as the standard library does.
    return re2.compile(source, pattern_options())


_ALPHABET = string.ascii_letters + string.digits + "+/-_"
#: Base64, broken into lines or not; the breaks are escapes in JSON, and in JSON inside it.
_RUN = _pattern(rb"[A-Za-z0-9+/_-]{20,}(?:(?:\\{1,8}[rn]|[\r\n])+[A-Za-z0-9+/_-]{2,})*")
_BROKEN = _pattern(rb"[A-Za-z0-9+/_-]{40,}(?:(?:\\{1,8}[rn]|[\r\n])+[A-Za-z0-9+/_-]{2,})+")
_BREAK = _pattern(rb"\\{1,8}[rn]|[\r\n]+")
_PICTURE = _pattern(
    rb"(^|[^A-Za-z0-9+/_-])((?:%b)[A-Za-z0-9+/_-]{20,}={0,2})"
    % b"|".join(b.encode() for b in BEGINNINGS)
)
_BEGINNINGS = tuple(b.encode() for b in BEGINNINGS)
_QUOTED = _pattern(rb"[^\s\"'<>\\]*%[0-9A-Fa-f]{2}[^\s\"'<>\\]*")
#: Escapes of characters that need none: \u0026 for &, \/ for /.
_NEEDLESS = _pattern(rb"\\+(?:u00([2-7][0-9a-fA-F])|/)")
_ESCAPE = _pattern(rb"%[0-9A-Fa-f]{2}")
#: What is Base64 as one letter, all else as a blank.
_FLAT = bytes(97 if chr(n) in _ALPHABET else 32 for n in range(256))
_SHORT_RUN = b"a" * 20
_BREAKS = (b"\\", b"\r", b"\n")
_FROM_URLS = bytes.maketrans(b"-_", b"+/")
_TO_URLS = bytes.maketrans(b"+/", b"-_")
#: Ends what one run of Base64 says, and says a new line before what the next one does.
_BETWEEN = b"AAAACgoK"
#: In longer runs only what is aligned with their beginning is read.
_LONG = 8192


def pictures(data: bytes) -> bytes:
    """``data`` with its pictures in Base64 telling nothing but what they show."""
    if not any(b in data for b in _BEGINNINGS):
        return data
    return _PICTURE.sub(_picture, data)


def _picture(match: Any) -> bytes:
    text = match[2]
    raw = _decoded(text.rstrip(b"="))
    made = stripped(raw)
    if made is raw:
        return bytes(match[0])
    encoded = base64.b64encode(made)
    return match[1] + (encoded.translate(_TO_URLS) if b"-" in text or b"_" in text else encoded)


class Marks(NamedTuple):
    """Patterns of what cannot be missing where something hides: as it stands, and as it stands or
    wherever there is anything to be undone first. Most texts are walked once, with that one."""

    plain: Any
    any: Any


def marks(values: Iterable[bytes]) -> Marks:
    """The patterns of all that ``values`` may stand in a text as, and of how pictures begin: as
    they are, in Base64, and in Base64 of that."""
    known = list(values)
    once = {core for value in known for core in _cores(value)}
    found = once | {core for value in once for core in _cores(value)}
    found |= {core.translate(_TO_URLS) for core in found} | {*known, *_BEGINNINGS}
    source = b"|".join(re2.escape(core) for core in sorted(found))
    undone = (_NEEDLESS, _ESCAPE, _BROKEN)
    return Marks(_pattern(source), _pattern(b"|".join([source, *(p.pattern for p in undone)])))


def may_hide(data: bytes, marks: Marks) -> bool:
    """Whether ``data`` has to be looked into: a mark is in it, or would be without needless
    escapes, written as URLs are, or broken into lines."""
    if not marks.any.search(data):
        return False
    bare = unescaped(data)
    if b"%" in bare:
        bare = unquote_to_bytes(bare)
    return bool(
        marks.plain.search(bare)
        or (bare is not data and marks.plain.search(data))
        or any(marks.plain.search(_BREAK.sub(b"", m[0])) for m in _BROKEN.finditer(data))
    )


def _cores(value: bytes) -> Iterator[bytes]:
    """What of ``value`` in Base64 no neighbour changes, for each way it may be aligned."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + value).rstrip(b"=")
        whole = (before + len(value)) * 8 // 6
        if core := text[-(-before * 8 // 6) : whole]:
            yield core


def in_base64(data: bytes, fill: Fill) -> bytes:
    """``data`` with ``fill`` put through what its Base64 says; its length stays."""
    runs = list(_runs(data))
    if not runs:
        return data
    # Read from each of four places on, one of them fits, however a run is aligned.
    joined = _BETWEEN.join([b"", *runs, b""])
    said = b"\n".join([_decoded(joined[shift:]) for shift in range(4)])
    if fill(said) == said:
        return data
    made = bytearray(data)
    for stands, raw in _base64(data):
        filled = fill(raw)
        if filled != raw:
            # Only at the edges of stars there may be a character that one of the alphabets lacks.
            url_safe = any(data[at] in b"-_" for at in stands)
            for first, last in _differ(raw, filled):
                encoded = base64.b64encode(filled[first:last]).rstrip(b"=")
                encoded = encoded.translate(_TO_URLS) if url_safe else encoded
                for at, char in zip(stands[first // 3 * 4 :], encoded, strict=False):
                    made[at] = char
    return data if made == data else bytes(made)


def _differ(a: bytes, b: bytes) -> Iterator[tuple[int, int]]:
    """Where ``a`` and ``b``, of one length, are not the same: groups of three bytes."""
    return ((n, n + 3) for n in range(0, len(a), 3) if a[n : n + 3] != b[n : n + 3])


def _runs(data: bytes) -> Iterator[bytes]:
    """The runs of Base64 in ``data``, without breaks: `_RUN` finds the same, at six times the time
    where they are many."""
    flat = data.translate(_FLAT) + b" "
    at = flat.find(_SHORT_RUN)
    while at >= 0:
        end = flat.find(b" ", at)
        if data[end : end + 1] in _BREAKS and (match := _RUN.match(data, at)):
            end = match.end()
            yield _BREAK.sub(b"", match[0])
        else:
            yield data[at:end]
        at = flat.find(_SHORT_RUN, end)


def _base64(data: bytes) -> Iterator[tuple[Sequence[int], bytes]]:
    """What Base64 in ``data`` says, and where each of its characters stands."""
    for match in _RUN.finditer(data):
        text, at = match[0], match.start()
        stands: Sequence[int] = range(at, match.end())
        if b"\\" in text or b"\n" in text or b"\r" in text:
            gaps = {n for gap in _BREAK.finditer(text) for n in range(*gap.span())}
            stands = [at + n for n in range(len(text)) if n not in gaps]
            text = _BREAK.sub(b"", text)
        for shift in range(4 if len(text) <= _LONG else 1):
            yield stands[shift:], _decoded(text[shift:])


def _decoded(text: bytes) -> bytes:
    """What Base64 without padding says; a character too many is left out."""
    text = text[: len(text) - (len(text) % 4 == 1)].translate(_FROM_URLS)
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        return b""


def starred(data: bytes, spans: Spans) -> bytes:
    """``data`` with stars for what ``spans`` finds, as it stands and as URLs write it."""
    found = spans(data)
    if _ESCAPE.search(data):
        before = [m.start() - 2 * n for n, m in enumerate(_ESCAPE.finditer(data))]
        for first, last in spans(unquote_to_bytes(data)):
            found.append(
                (first + 2 * bisect_left(before, first), last + 2 * bisect_left(before, last))
            )
    if not found:
        return data
    made = bytearray(data)
    for first, last in found:
        made[first:last] = b"*" * (last - first)
    return bytes(made)


def in_urls(data: bytes, hide: Hide) -> bytes:
    """``data`` with ``hide`` put through what is written as URLs write it."""
    if b"%" not in data:
        return data
    words = {m[0]: b"" for m in _QUOTED.finditer(data)}
    said = b"\n".join(map(unquote_to_bytes, words))
    if not words or hide(said) == said:
        return data
    return _QUOTED.sub(lambda m: _quoted(m[0], hide), data)


def _quoted(word: bytes, hide: Hide) -> bytes:
    said = unquote_to_bytes(word)
    made = hide(said)
    if made == said:
        return word
    return quote_from_bytes(made, safe=word.replace(b"%", b"")).encode()


def unescaped(data: bytes) -> bytes:
    """``data`` without needless escapes."""
    return _NEEDLESS.sub(_plain, data) if b"\\u00" in data or b"\\/" in data else data


def in_escapes(data: bytes, hide: Hide) -> bytes:
    """``data`` with ``hide`` put through it; without needless escapes where they hide something."""
    made, bare = hide(data), unescaped(data)
    if bare == data:
        return made
    plain = hide(bare)
    return made if unescaped(made) == plain else plain


def _plain(match: Any) -> bytes:
    char = bytes([int(match[1], 16)]) if match[1] else b"/"
    return match[0] if char in b'"\\\x7f' else char


def in_pieces(data: bytes, hide: Hide) -> bytes:
    """A stream of events with ``hide`` put through what it says in pieces; any other is the same.

    What an event says as a whole is left alone.
    """
    if (events := as_stream(data)) is None:
        return data
    told = said(events)
    if told is not None and all(_text(text, hide) == text for text in told):
        return data
    lines = events.split(b"\n")
    values = [_event(line) for line in lines]
    changed = {id(box) for box, _ in cut(values, lambda t: _text(t, hide))}
    if not changed:
        return data
    for at, value in enumerate(values):
        if any(id(place[0]) in changed for _, place in pieces_of(value)):
            end = b"\r" if lines[at].endswith(b"\r") else b""
            lines[at] = b"data: " + written(value, lines[at]) + end
    return b"\n".join(lines)


def _text(text: str, hide: Hide) -> str:
    return hide(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def _event(line: bytes) -> object:
    if not line.startswith(b"data:"):
        return None
    # Nested too deeply it is no event that says anything in pieces.
    try:
        return msgspec.json.decode(line[5:])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    try:
        return json.loads(line[5:])
    except (ValueError, RecursionError):
        return None
