"""What pictures tell besides what they show: comments, places, devices, names. It is cut out."""

from __future__ import annotations

import struct
from collections.abc import Callable

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
#: What a picture in Base64 begins with, standard or as URLs write it.
BEGINNINGS = ("iVBORw0KGgo", "/9j/", "_9j_", "UklGR")
_PNG_TELLS = frozenset({b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME"})
_WEBP_TELLS = frozenset({b"EXIF", b"XMP "})
#: Bits of a WebP's head that say that EXIF and XMP follow.
_WEBP_FLAGS = 0x0C
#: JPEG segments that say how to draw: all but comments and applications', of which JFIF, colour
#: profile and Adobe's transform do.
_JPEG_DRAWS = frozenset({0xE0, 0xE2, 0xEE})
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_END, _SCAN = 0xD9, 0xDA


def stripped(data: bytes) -> bytes:
    """The picture ``data`` without what it tells besides; the same object where it tells nothing,
    is cut off, or is none."""
    made = data
    for begins, strip in _KINDS.items():
        if data.startswith(begins):
            try:
                made = strip(data)
            except (IndexError, struct.error):
                return data
    return data if made == data else made


def _png(data: bytes) -> bytes:
    kept, at = [_PNG], len(_PNG)
    kind = b""
    while kind != b"IEND":
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            raise IndexError
        if kind not in _PNG_TELLS:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _jpeg(data: bytes) -> bytes:
    kept, at = [data[:2]], 2
    while True:
        while data[at + 1] == 0xFF:
            at += 1
        if data[at] != 0xFF:
            raise IndexError
        kind = data[at + 1]
        if kind == _END:
            return b"".join([*kept, data[at : at + 2]])
        end = at + 2
        if kind not in _ALONE:
            end += struct.unpack_from(">H", data, end)[0]
        if kind == _SCAN:
            end = _behind_scan(data, end)
        if not (kind == 0xFE or (0xE0 <= kind <= 0xEF and kind not in _JPEG_DRAWS)):
            kept.append(data[at:end])
        at = end


def _behind_scan(data: bytes, at: int) -> int:
    """Where the next segment begins: within a scan 0xFF is followed by 0 or a restart."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            raise IndexError
        if data[at + 1] and data[at + 1] not in _ALONE:
            return at
        at += 2


def _webp(data: bytes) -> bytes:
    if data[8:12] != b"WEBP":
        return data
    kept, at = [], 12
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise IndexError
    while at < end:
        (length,) = struct.unpack_from("<I", data, at + 4)
        kind, whole = data[at : at + 4], 8 + length + length % 2
        chunk = data[at : at + whole]
        if kind == b"VP8X":
            chunk = chunk[:8] + bytes([chunk[8] & ~_WEBP_FLAGS]) + chunk[9:]
        if kind not in _WEBP_TELLS:
            kept.append(chunk)
        at += whole
    body = b"".join(kept)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


_KINDS: dict[bytes, Callable[[bytes], bytes]] = {_PNG: _png, _JPEG: _jpeg, b"RIFF": _webp}
