"""Content encodings of HTTP bodies, unpacked in steps and never beyond a limit.

Only those that clients and providers use count as encodings; mitmproxy itself would take any codec
that Python knows (rot13, base64). Source: RFC 9110, section 8.4.1; RFC 8878 for zstd.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import brotli
import zstandard

#: A whole answer, or what is recorded, unpacks to this many bytes at most.
MOST_BYTES = 256 * 1024 * 1024
#: Bytes that are unpacked in one step.
_STEP = 256 * 1024


class EncodingError(Exception):
    """A body that cannot be unpacked: the HTTP status that fits, and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def codings(header: str) -> list[str]:
    """The encodings that a Content-Encoding header names, in the order in which they were applied.
    EncodingError (415) for one that is none."""
    names = [name.strip().lower() for name in header.split(",")]
    names = [name for name in names if name and name != "identity"]
    for name in names:
        if name not in _UNPACK:
            raise EncodingError(
                415, f"the content-encoding {name[:40]!r} is not understood; use {_KNOWN}"
            )
    return names


def decode(body: bytes, header: str, most: int = 0) -> bytes:
    """``body`` without the encodings that ``header`` names; at most ``most`` bytes (0: no limit).

    EncodingError: 415 for an unknown encoding, 413 when the body unpacks to more, 400 when it is
    not encoded as the header says.
    """
    for name in reversed(codings(header)):
        body, error = _unpacked(body, name, most)
        if error:
            raise error
    return body


def readable(body: bytes, header: str) -> bytes:
    """``body`` without the encodings that ``header`` names, as far as it can be unpacked: for
    whoever looks at what was recorded. As it is where none of it can be."""
    try:
        names = codings(header)
    except EncodingError:
        return body
    for name in reversed(names):
        body = _unpacked(body, name, MOST_BYTES)[0] or body
    return body


def _unpacked(body: bytes, name: str, most: int) -> tuple[bytes, EncodingError | None]:
    """``body`` without one encoding, and what is wrong with what follows."""
    parts, size, error = [], 0, None
    try:
        for part in _UNPACK[name](body):
            size += len(part)
            if most and size > most:
                error = EncodingError(413, f"the body unpacks to more than {most} bytes")
                break
            parts.append(part)
    except (zlib.error, brotli.error, zstandard.ZstdError, EOFError) as e:
        error = EncodingError(400, f"the body is not {name} as its header says: {e}")
    return b"".join(parts), error


def _gzip(body: bytes) -> Iterator[bytes]:
    # Several members may follow each other (RFC 1952, section 2.2).
    while body:
        member = zlib.decompressobj(wbits=31)
        yield from _inflated(member, body)
        body = member.unused_data.lstrip(b"\0")


def _deflate(body: bytes) -> Iterator[bytes]:
    # Some senders leave out the zlib header (RFC 9110, section 8.4.1.2).
    wrapped = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0
    yield from _inflated(zlib.decompressobj(wbits=15 if wrapped else -15), body)


def _inflated(member: zlib._Decompress, body: bytes) -> Iterator[bytes]:
    rest = body
    while rest and not member.eof:
        yield member.decompress(rest, _STEP)
        rest = member.unconsumed_tail
    if not member.eof:
        raise EOFError("it breaks off")


def _brotli(body: bytes) -> Iterator[bytes]:
    stream = brotli.Decompressor()
    yield stream.process(body, output_buffer_limit=_STEP)
    while not stream.is_finished():
        if stream.can_accept_more_data():
            raise EOFError("it breaks off")
        yield stream.process(b"", output_buffer_limit=_STEP)


def _zstd(body: bytes) -> Iterator[bytes]:
    # The window is memory, too: RFC 8878 recommends that at least 8 MB be accepted.
    stream = zstandard.ZstdDecompressor(max_window_size=128 * 1024 * 1024)
    with stream.stream_reader(body, read_across_frames=True) as reader:
        while part := reader.read(_STEP):
            yield part
    _check_frames(body)


def _check_frames(body: bytes) -> None:
    """EOFError where the last frame is not whole: the reader takes that for its end. Source:
    RFC 8878, section 3.1.1."""
    at, size = 0, len(body)
    while at < size:
        if body[at + 1 : at + 4] == b"\x2a\x4d\x18" and body[at] & 0xF0 == 0x50:
            # A frame that is to be skipped.
            at += 8 + int.from_bytes(body[at + 4 : at + 8], "little")
            continue
        parameters = zstandard.get_frame_parameters(body[at : at + 18])
        at += zstandard.frame_header_size(body[at : at + 18])
        last = False
        while not last and at < size:
            header = int.from_bytes(body[at : at + 3], "little")
            last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
            at += 3 + (1 if kind == _REPEATED else length)
        at += 4 * parameters.has_checksum
        if not last:
            raise EOFError("it breaks off")
    if at > size:
        raise EOFError("it breaks off")


#: A block that is one byte, repeated.
_REPEATED = 1

_UNPACK: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
_KNOWN = "gzip, deflate, br or zstd"
