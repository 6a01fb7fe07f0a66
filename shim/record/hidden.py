"""Where a secret hides from a search of the bytes: Base64, URLs, needless escapes, pictures, and
the pieces in which a stream says it.

Strategy: everything that may hide something is decoded and put together, and searched once. Only
where that finds something each place is looked at by itself.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from .pictures import BEGINNINGS, stripped
from .sanitise import cut, pieces_of, written

type Hide = Callable[[bytes], bytes]
type Spans = Callable[[bytes], list[tuple[int, int]]]

#: Base64, broken into lines or not; the breaks are escapes in JSON, and in JSON inside it.
_RUN = re.compile(rb"[A-Za-z0-9+/_-]{20,}(?:(?:\\{1,8}[rn]|[\r\n])+[A-Za-z0-9+/_-]{2,})*")
_BREAK = re.compile(rb"\\{1,8}[rn]|[\r\n]+")
_PICTURE = re.compile(
    rb"(?<![A-Za-z0-9+/_-])(?:%b)[A-Za-z0-9+/_-]{20,}={0,2}"
    % b"|".join(re.escape(b.encode()) for b in BEGINNINGS)
)
_BEGINNINGS = tuple(b.encode() for b in BEGINNINGS)
_QUOTED = re.compile(rb"[^\s\"'<>\\]*%[0-9A-Fa-f]{2}[^\s\"'<>\\]*")
#: Escapes of characters that need none: \u0026 for &, \/ for /.
_NEEDLESS = re.compile(rb"\\+(?:u00([2-7][0-9a-fA-F])|/)")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_STANDARD = bytes.maketrans(b"+/", b"-_")
#: In longer runs only what is aligned with their beginning is read.
_LONG = 8192


def pictures(data: bytes) -> bytes:
    """``data`` with its pictures in Base64 telling nothing but what they show."""
    if not any(b in data for b in _BEGINNINGS):
        return data
    return _PICTURE.sub(_picture, data)


def _picture(match: re.Match[bytes]) -> bytes:
    text = match[0]
    raw = _decoded(text.rstrip(b"="))
    made = stripped(raw)
    if made is raw:
        return text
    encoded = base64.b64encode(made)
    return encoded.translate(_STANDARD) if b"-" in text or b"_" in text else encoded


def in_base64(data: bytes, spans: Spans) -> bytes:
    """``data`` with stars for what ``spans`` finds in its Base64; its length stays."""
    places = list(_base64(data))
    if not places or not spans(b"\n".join(raw for _, raw in places)):
        return data
    made = bytearray(data)
    for stands, raw in places:
        for first, last in spans(raw):
            _star(made, stands, raw, first, last)
    return data if made == data else bytes(made)


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
    text = text[: len(text) - (len(text) % 4 == 1)].translate(_URL_SAFE)
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        return b""


def _star(data: bytearray, stands: Sequence[int], raw: bytes, first: int, last: int) -> None:
    begin, end = first // 3 * 3, -(-last // 3) * 3
    told = raw[begin:first] + b"*" * (last - first) + raw[last:end]
    encoded = base64.b64encode(told).rstrip(b"=")
    for at, char in zip(stands[begin // 3 * 4 :], encoded, strict=False):
        if data[at] in b"-_" or char in b"+/":
            # Only at the edges: stars have neither.
            char = char if data[at] in b"+/" else bytes([char]).translate(_STANDARD)[0]
        data[at] = char


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


def in_escapes(data: bytes, hide: Hide) -> bytes:
    """``data`` with ``hide`` put through it; without needless escapes where they hide something."""
    made = hide(data)
    if b"\\u00" not in data and b"\\/" not in data:
        return made
    plain = hide(_NEEDLESS.sub(_plain, data))
    return made if _NEEDLESS.sub(_plain, made) == plain else plain


def _plain(match: re.Match[bytes]) -> bytes:
    char = bytes([int(match[1], 16)]) if match[1] else b"/"
    return match[0] if char in b'"\\\x7f' else char


def in_pieces(data: bytes, hide: Hide) -> bytes:
    """A stream of events with ``hide`` put through what it says in pieces; any other is the same.

    What an event says as a whole is left alone.
    """
    if not data.lstrip().startswith((b"data:", b"event:", b"id:", b"retry:", b":")):
        return data
    lines = data.split(b"\n")
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
    try:
        return msgspec.json.decode(line[5:])
    except (msgspec.DecodeError, UnicodeError):
        pass
    try:
        return json.loads(line[5:])
    except ValueError:
        return None
