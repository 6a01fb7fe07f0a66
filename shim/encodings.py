"""Content encodings of HTTP bodies, unpacked in steps and never beyond a limit.

Only those that clients and providers use count as encodings; mitmproxy itself would take any codec
that Python knows (rot13, base64), and unpack without end. Sources: RFC 9110, section 8.4.1; RFC
8878 and RFC 9659 for zstd.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any, Protocol

import brotli
import msgspec
import zstandard

from .shown import short

#: Bytes that are unpacked in one step, and taken in for one.
_STEP, _PIECE = 256 * 1024, 64 * 1024
#: The same of zstd, where a few bytes may stand for a block of 128 KB.
_SLICE = 256
#: Encodings on top of each other: each may unpack to the limit.
_MOST_CODINGS = 3
#: Members of gzip and frames of zstd, which cost time even where there is nothing in them.
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

    def sentence(self, what: str) -> str:
        """Why ``what`` is refused."""
        return f"{what} more than {self}"


NO_LIMIT = Limit()
#: What is recorded is read up to so many bytes, where nothing else bounds it.
RECORDED = Limit(64 * 1024 * 1024, "64m")


#: As much is kept of a body that cannot be read to its end.
_HEAD = 4 << 20


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
        if name not in _FORMS:
            raise EncodingError(
                415, f"the content-encoding {short(name, 40)!r} is not understood; use {_KNOWN}"
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
    return _whole(body, header, limit, [])


def readable(body: bytes, header: str, limit: Limit = RECORDED) -> tuple[bytes, bool]:
    """``body`` as it reads, of what somebody recorded, and whether it could be read to its end;
    else a sentence behind what could be read says why not. What is text is read as it is where
    ``header`` names another encoding that is known."""
    head: list[bytes] = []
    try:
        return _whole(body, header, limit, head), True
    except EncodingError as e:
        if e.status != 415 and not head and _is_text(body):
            return body, True
        said = f"[not recorded from here, of {len(body)} bytes: {e}]"
        return b"".join([*head, said.encode()]), False


def _whole(body: bytes, header: str, limit: Limit, head: list[bytes]) -> bytes:
    """``body`` without its encodings; ``head`` gets the pieces of its first bytes.

    What is larger than that is counted before room is made for it: a bomb gets none.
    """
    size = 0
    for piece in Unpacker(header, limit).whole(body):
        size += len(piece)
        if size <= _HEAD:
            head.append(piece)
        del piece
    if size <= _HEAD:
        return b"".join(head)
    head.clear()
    with BytesIO() as whole:
        whole.seek(size - 1)
        whole.write(b"\0")
        whole.seek(0)
        whole.writelines(Unpacker(header, limit).whole(body))
        return whole.getvalue()


def _is_text(body: bytes) -> bool:
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
            raise EncodingError(413, limit.sentence("the answer has"))
    return decode(bytes(body), answer.headers.get("content-encoding", ""), limit)


class Unpacker:
    """A body that comes in pieces, without the encodings that its header names, step by step, so
    that whoever reads can stop. Neither it nor what is between two encodings may exceed ``limit``.
    EncodingError as in `decode`."""

    def __init__(self, header: str, limit: Limit = NO_LIMIT) -> None:
        self._stages = [_Stage(name, limit) for name in reversed(codings(header))]

    def __bool__(self) -> bool:
        return bool(self._stages)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What the next ``data`` unpacks to, in bounded pieces."""
        pieces: Pieces = (data,)
        for stage in self._stages:
            pieces = stage.feed(pieces)
        yield from pieces

    def whole(self, body: bytes) -> Iterator[bytes]:
        """The same of all there is: EncodingError (400) where ``body`` breaks off."""
        pieces: Pieces = (body[at : at + _PIECE] for at in range(0, len(body), _PIECE))
        for stage in self._stages:
            pieces = stage.feed(pieces, last=True)
        yield from pieces


class _Stage:
    """One encoding of a body."""

    def __init__(self, name: str, limit: Limit) -> None:
        self._name, self._limit = name, limit
        self._form: _Form = _FORMS[name]()
        self._size = 0

    def feed(self, pieces: Pieces, *, last: bool = False) -> Iterator[bytes]:
        """What ``pieces`` hold; behind the ``last`` it must be whole."""
        try:
            for piece in pieces:
                for part in self._form.feed(piece) if piece else ():
                    self._size += len(part)
                    if self._limit.exceeded(self._size):
                        raise EncodingError(413, self._limit.sentence("the body unpacks to"))
                    if part:
                        yield part
                    # What comes next takes its room.
                    del part
            if last and not self._form.ended:
                raise EOFError("it breaks off")
        except (zlib.error, brotli.error, zstandard.ZstdError, EOFError) as e:
            message = f"the body is not {self._name} as its header says: {e}"
            raise EncodingError(400, message) from None


class _Form(Protocol):
    """How an encoding is undone. ``ended``: what came so far may be all."""

    ended: bool

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` unpacks to. An error of the encoding's library, or EOFError."""


class _Gzip:
    """Several members may follow each other (RFC 1952, section 2.2), with zeros behind the last."""

    ended = True

    def __init__(self) -> None:
        self._members = 0
        self._member: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data := data if self._member else data.lstrip(b"\0"):
            if self._member is None:
                self._members = _one_more(self._members)
                self._member, self.ended = zlib.decompressobj(wbits=31), False
            yield from _inflated(self._member, data)
            data = b""
            if self._member.eof:
                data, self._member, self.ended = self._member.unused_data, None, True


def _one_more(members: int) -> int:
    if members >= _MOST_MEMBERS:
        raise EOFError(f"it has more than {_MOST_MEMBERS} members")
    return members + 1


class _Deflate:
    """Some senders leave out the zlib header (RFC 9110, section 8.4.1.2)."""

    ended = True

    def __init__(self) -> None:
        self._begin = b""
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            data = self._begin = self._begin + data
            self.ended = False
            if len(data) < 2:
                return
            wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0
            self._stream = zlib.decompressobj(wbits=15 if wrapped else -15)
        yield from _inflated(self._stream, data)
        self.ended = self._stream.eof


def _inflated(stream: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    while data and not stream.eof:
        yield stream.decompress(data, _STEP)
        data = stream.unconsumed_tail
    # The output may have been full when the last of the input was taken.
    while not stream.eof and (part := stream.decompress(b"", _STEP)):
        yield part


class _Brotli:
    ended = True

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        stream = self._stream
        if not stream.is_finished():
            yield stream.process(data, output_buffer_limit=_STEP)
        # As above.
        while not stream.is_finished() and (part := stream.process(b"", output_buffer_limit=_STEP)):
            yield part
        self.ended = stream.is_finished()


class _Zstd:
    """Several frames may follow each other (RFC 8878, section 3.1)."""

    ended = True

    def __init__(self) -> None:
        # The window is memory, too (RFC 9659, section 3).
        self._frames = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024)
        self._members = 0
        self._frame: zstandard.ZstdDecompressionObj | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _SLICE):
            piece = data[at : at + _SLICE]
            while piece:
                if self._frame is None:
                    self._members = _one_more(self._members)
                    self._frame, self.ended = self._frames.decompressobj(), False
                yield self._frame.decompress(piece)
                piece = b""
                if self._frame.eof:
                    piece, self._frame, self.ended = self._frame.unused_data, None, True


_FORMS: dict[str, Callable[[], _Form]] = {
    "gzip": _Gzip,
    "x-gzip": _Gzip,
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": _Zstd,
}
_KNOWN = "gzip, deflate, br or zstd"
