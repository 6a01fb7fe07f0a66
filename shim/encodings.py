"""Content encodings of HTTP bodies, unpacked in steps and never beyond a limit.

Only those that clients and providers use count as encodings; mitmproxy itself would take any codec
that Python knows (rot13, base64), and unpack without end. Sources: RFC 9110, section 8.4.1; RFC
8878 and RFC 9659 for zstd.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any

import brotli
import msgspec
import zstandard

#: Bytes that are unpacked in one step, and taken in for one.
_STEP, _PIECE = 256 * 1024, 64 * 1024
#: Encodings on top of each other: each may unpack to the limit.
_MOST_CODINGS = 3
#: Members of gzip, which cost time even where there is nothing in them.
_MOST_MEMBERS = 10_000

_FIELD = b"content-encoding"

type Pieces = Iterable[bytes]


class EncodingError(Exception):
    """A body that cannot be unpacked: the HTTP status that fits, and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Limit(msgspec.Struct, frozen=True):
    """The ``most`` bytes that a body may have (0: no limit), and how that is ``written``."""

    most: int = 0
    written: str = ""

    def exceeded(self, size: int) -> bool:
        """Whether a body of ``size`` bytes has too many."""
        return 0 < self.most < size

    def times(self, factor: int) -> Limit:
        """``factor`` times as many bytes."""
        return Limit(factor * self.most, f"{factor} times {self}")

    def __str__(self) -> str:
        return self.written or f"{self.most} bytes"

    def told(self, what: str) -> str:
        """Why ``what`` is refused."""
        return f"{what} more than {self}"


NO_LIMIT = Limit()
#: What is recorded is read up to so many bytes, where nothing else bounds it.
RECORDED = Limit(64 * 1024 * 1024, "64m")


def coding_of(fields: Iterable[tuple[bytes, bytes]]) -> str:
    """What the Content-Encoding fields of a message say; several count as one list (RFC 9110,
    section 5.3)."""
    return b",".join(v for name, v in fields if name.lower() == _FIELD).decode("latin-1")


def codings(header: str) -> list[str]:
    """The encodings that a Content-Encoding header names, in the order in which they were applied.
    EncodingError (415) for one that is none, and for too many."""
    names = [name.strip().lower() for name in header.split(",")]
    names = [name for name in names if name and name != "identity"]
    for name in names:
        if name not in _UNPACK:
            raise EncodingError(
                415, f"the content-encoding {name[:40]!r} is not understood; use {_KNOWN}"
            )
    if len(names) > _MOST_CODINGS:
        raise EncodingError(
            415, f"{len(names)} encodings on top of each other; at most {_MOST_CODINGS} are taken"
        )
    return names


def decode(body: bytes, header: str, limit: Limit = NO_LIMIT) -> bytes:
    """``body`` without the encodings that ``header`` names; neither it nor what is between two of
    them may exceed ``limit``.

    EncodingError: 415 for an unknown encoding, 413 when the body unpacks to more, 400 when it is
    not encoded as the header says.
    """
    if not codings(header):
        return body
    # Other than a list that is joined, this needs the room of the body only once.
    whole = BytesIO()
    whole.writelines(_pieces(body, header, limit))
    return whole.getvalue()


def _pieces(body: bytes, header: str, limit: Limit) -> Pieces:
    pieces: Pieces = _cut(body)
    for name in reversed(codings(header)):
        pieces = _unpacked(name, pieces, limit)
    return pieces


def readable(body: bytes, header: str, limit: Limit = RECORDED) -> tuple[bytes, bool]:
    """``body`` as it reads, of what somebody recorded, and whether it could be read to its end;
    else a sentence behind what could be read says why not. What is text is read as it is where
    ``header`` names another encoding that is known."""
    whole = BytesIO()
    try:
        whole.writelines(_pieces(body, header, limit))
        return whole.getvalue(), True
    except EncodingError as e:
        if e.status != 415 and not whole.tell() and is_text(body):
            return body, True
        whole.write(f"[not recorded from here, of {len(body)} bytes: {e}]".encode())
        return whole.getvalue(), False


def is_text(body: bytes) -> bool:
    """Whether ``body`` is UTF-8."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


async def received(answer: Any, limit: Limit) -> bytes:
    """The body of ``answer``, httpx's of a stream that nobody has read yet, unpacked.
    EncodingError as for `decode`."""
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if limit.exceeded(len(body)):
            raise EncodingError(413, limit.told("the answer has"))
    return decode(bytes(body), answer.headers.get("content-encoding", ""), limit)


class StreamUnpacker:
    """A body that comes in pieces, without the encodings that its header names. Each piece is
    unpacked step by step, so that whoever reads can stop. EncodingError as in `decode`."""

    def __init__(self, header: str, limit: Limit = NO_LIMIT) -> None:
        self._limit, self._size = limit, 0
        self._names = codings(header)
        self._stages = [_STREAMED[name]() for name in reversed(self._names)]

    def __bool__(self) -> bool:
        return bool(self._stages)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` unpacks to, in bounded pieces."""
        for part in self._through(data, 0):
            self._size += len(part)
            if self._limit.exceeded(self._size):
                raise EncodingError(413, self._limit.told("the body unpacks to"))
            yield part

    def _through(self, data: bytes, stage: int) -> Iterator[bytes]:
        if stage == len(self._stages):
            yield data
            return
        try:
            for part in self._stages[stage](data):
                if part:
                    yield from self._through(part, stage + 1)
        except (zlib.error, brotli.error, zstandard.ZstdError) as e:
            name = self._names[-1 - stage]
            raise EncodingError(400, f"the body is not {name} as its header says: {e}") from None


def _inflating(wbits: int) -> Callable[[bytes], Iterator[bytes]]:
    stream = zlib.decompressobj(wbits)

    def unpack(data: bytes) -> Iterator[bytes]:
        while data and not stream.eof:
            yield stream.decompress(data, _STEP)
            data = stream.unconsumed_tail

    return unpack


def _unbrotli() -> Callable[[bytes], Iterator[bytes]]:
    stream = brotli.Decompressor()

    def unpack(data: bytes) -> Iterator[bytes]:
        yield stream.process(data, output_buffer_limit=_STEP)
        while not (stream.can_accept_more_data() or stream.is_finished()):
            yield stream.process(b"", output_buffer_limit=_STEP)

    return unpack


def _unzstd() -> Callable[[bytes], Iterator[bytes]]:
    stream = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).decompressobj()

    def unpack(data: bytes) -> Iterator[bytes]:
        # A few bytes may stand for a block of 128 KB each.
        for at in range(0, len(data), 256):
            if stream.eof:
                return
            yield stream.decompress(data[at : at + 256])

    return unpack


def _cut(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), _PIECE):
        yield body[at : at + _PIECE]


def _unpacked(name: str, pieces: Pieces, limit: Limit) -> Iterator[bytes]:
    """What ``pieces`` hold, step by step."""
    size = 0
    try:
        for part in _UNPACK[name](pieces):
            size += len(part)
            if limit.exceeded(size):
                raise EncodingError(413, limit.told("the body unpacks to"))
            yield part
    except (zlib.error, brotli.error, zstandard.ZstdError, EOFError) as e:
        raise EncodingError(400, f"the body is not {name} as its header says: {e}") from None


def _gzip(pieces: Pieces) -> Iterator[bytes]:
    # Several members may follow each other (RFC 1952, section 2.2), with zeros behind the last.
    member: zlib._Decompress | None = None
    count = 0
    for piece in pieces:
        rest = piece
        while rest := rest if member else rest.lstrip(b"\0"):
            if member is None:
                count += 1
                if count > _MOST_MEMBERS:
                    raise EOFError(f"it has more than {_MOST_MEMBERS} members")
                member = zlib.decompressobj(wbits=31)
            yield from _inflated(member, rest)
            rest, member = (member.unused_data, None) if member.eof else (b"", member)
    if member:
        raise EOFError(_BROKEN_OFF)


def _deflate(pieces: Pieces) -> Iterator[bytes]:
    # Some senders leave out the zlib header (RFC 9110, section 8.4.1.2).
    source = iter(pieces)
    first = b""
    while len(first) < 2 and (piece := next(source, b"")):
        first += piece
    if not first:
        return
    wrapped = len(first) > 1 and first[0] & 0x0F == 8 and int.from_bytes(first[:2]) % 31 == 0
    stream = zlib.decompressobj(wbits=15 if wrapped else -15)
    yield from _inflated(stream, first)
    for piece in source:
        if stream.eof:
            return
        yield from _inflated(stream, piece)
    if not stream.eof:
        raise EOFError(_BROKEN_OFF)


def _inflated(stream: zlib._Decompress, piece: bytes) -> Iterator[bytes]:
    while piece and not stream.eof:
        yield stream.decompress(piece, _STEP)
        piece = stream.unconsumed_tail
    # As with brotli below.
    while not stream.eof and (part := stream.decompress(b"", _STEP)):
        yield part


def _brotli(pieces: Pieces) -> Iterator[bytes]:
    stream = brotli.Decompressor()
    empty = True
    for piece in pieces:
        empty = False
        if stream.is_finished():
            return
        yield stream.process(piece, output_buffer_limit=_STEP)
        # The output may have been full when the last of the input was taken.
        while not stream.is_finished() and (part := stream.process(b"", output_buffer_limit=_STEP)):
            yield part
    if not (empty or stream.is_finished()):
        raise EOFError(_BROKEN_OFF)


def _zstd(pieces: Pieces) -> Iterator[bytes]:
    # The window is memory, too (RFC 9659, section 3).
    unpacker = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024)
    source: Any = _Source(pieces)
    with unpacker.stream_reader(source, read_across_frames=True) as reader:
        held = b""
        while part := reader.read(_STEP):
            held += part
            yield held[: -len(_END)]
            held = held[-len(_END) :]
    if held != _END:
        raise EOFError(_BROKEN_OFF)


#: Unpacked behind a body whose last frame is whole, and only there: the reader takes a frame that
#: breaks off for the end.
_END = b"end of the body!"
_END_FRAME = zstandard.ZstdCompressor(write_checksum=True).compress(_END)


class _Source:
    """A body as a file, with `_END_FRAME` behind it."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = iter(pieces)
        self._rest = b""
        self._over = False

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end."""
        while not self._rest and not self._over:
            piece = next(self._pieces, None)
            self._rest, self._over = (_END_FRAME, True) if piece is None else (piece, False)
        part, self._rest = self._rest[:size], self._rest[size:]
        return part


_BROKEN_OFF = "it breaks off"
_UNPACK: dict[str, Callable[[Pieces], Iterator[bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
_KNOWN = "gzip, deflate, br or zstd"
_STREAMED: dict[str, Callable[[], Callable[[bytes], Iterator[bytes]]]] = {
    "gzip": lambda: _inflating(31),
    "x-gzip": lambda: _inflating(31),
    "deflate": lambda: _inflating(15),
    "br": _unbrotli,
    "zstd": _unzstd,
}
