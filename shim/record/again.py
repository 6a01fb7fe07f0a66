"""Bodies of conversations: each turn sends again what the turns before it sent.

A body is a row of chunks. What it has in common with the last one of its conversation is neither
handed to the recorder, nor searched, nor packed a second time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from functools import lru_cache
from typing import NamedTuple

import zstandard

#: Where items meet: a quote that opens behind a brace is none of a string's, so this is structure.
_SEAM = b'},{"'
#: A chunk has so many bytes at most, and is made of smaller ones from so many on: the longer it is,
#: the better it packs.
_CHUNK, _MERGED = 1024 * 1024, 64 * 1024
#: What is alike in so few bytes is not worth a chunk of its own.
_LEAST = 64
#: With more chunks than this a body is cut anew.
_MOST_CHUNKS = 1000


class Part(NamedTuple):
    """What is new in a body. Of the last one it keeps whole chunks and some bytes of the one that
    follows: ``front`` from its beginning, ``back`` from its end."""

    front: tuple[int, int]
    new: bytes
    back: tuple[int, int]


class Chunk(bytes):
    """A piece of a body."""

    _frame = b""

    @property
    def frame(self) -> bytes:
        """The chunk compressed with zstd, once."""
        if not self._frame:
            self._frame = _packer().compress(self)
        return self._frame


def alone(body: bytes) -> Body:
    """A body that is like no other."""
    return Body([Chunk(body)], 0, 1, Search())


def unpacked(frame: bytes) -> Body:
    """The body of one chunk that was packed into ``frame``."""
    chunk = Chunk(_unpacker().decompress(frame))
    chunk._frame = frame
    return Body([chunk], 0, 1, Search())


class Search:
    """What for a body was searched, if nothing was found."""

    why: Hashable = None


class Body:
    """A body of a conversation; what is not in the last one, whose search was ``known``, begins at
    chunk ``first`` and ends before ``last``."""

    def __init__(self, chunks: list[Chunk], first: int, last: int, known: Search) -> None:
        self.chunks, self.first, self.last = chunks, first, last
        #: Of the last one nothing else is kept. It may be searched after this one was made.
        self._known = known
        self.search = Search()
        self._size = sum(map(len, chunks))

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self.chunks)

    def packed(self) -> bytes:
        """The body as frames of zstd, which any reader takes one behind the other."""
        return b"".join([chunk.frame for chunk in self.chunks])

    def unsearched(self, why: Hashable) -> bytes:
        """What of it has to be searched for ``why``: what is new, from the item where it begins to
        the one where it ends, or all of it."""
        if self._known.why is None or self._known.why != why:
            return bytes(self)
        before, after = self.chunks[: self.first], self.chunks[self.last :]
        new = self.chunks[self.first : self.last]
        return b"".join([*_to_seam(before), *new, *_from_seam(after)])


class Bodies:
    """The latest body of each conversation, at most ``most`` bytes of them together.

    Two that are told the same in the same order know the same: one sends parts to the other.
    """

    def __init__(self, most: int = 64 * 1024 * 1024) -> None:
        self._most = most
        self._bytes = 0
        self._latest: OrderedDict[Hashable, Body] = OrderedDict()

    def take(self, key: Hashable, body: bytes) -> tuple[Part, Body]:
        """``body`` as the latest of ``key``, and what is new in it."""
        known = self._latest.get(key)
        part = _part(known.chunks, body) if known else Part((0, 0), body, (0, 0))
        return part, self.put(key, part)

    def put(self, key: Hashable, part: Part) -> Body:
        """The latest body of ``key``, made of the last one and what is new in it."""
        known = self._latest.pop(key, None)
        made = _put(known, part)
        self._bytes += len(made) - (len(known) if known else 0)
        self._latest[key] = made
        while self._bytes > self._most:
            self._bytes -= len(self._latest.popitem(last=False)[1])
        return made


def _part(known: list[Chunk], body: bytes) -> Part:
    """What is new in ``body``."""
    if len(known) > _MOST_CHUNKS:
        return Part((0, 0), body, (0, 0))
    at, whole = 0, 0
    for chunk in known:
        if not body.startswith(chunk, at):
            break
        at += len(chunk)
        whole += 1
    some = _alike(known[whole], body, at) if whole < len(known) else 0
    front, at = (whole, some), at + some
    end, whole = len(body), 0
    while whole < len(known) and body.endswith(known[-1 - whole], at, end):
        whole += 1
        end -= len(known[-whole])
    some = _alike_at_end(known[-1 - whole], body, at, end) if whole < len(known) else 0
    return Part(front, body[at : end - some], (whole, some))


def _put(known: Body | None, part: Part) -> Body:
    chunks = known.chunks if known else []
    whole, some = part.front
    before = chunks[:whole]
    if some:
        before.append(Chunk(chunks[whole][:some]))
    _merge(before)
    whole, some = part.back
    after = chunks[len(chunks) - whole :]
    if some:
        after.insert(0, Chunk(chunks[-1 - whole][-some:]))
    new = [Chunk(part.new[at : at + _CHUNK]) for at in range(0, len(part.new), _CHUNK)]
    chunks, last = [*before, *new, *after], len(before) + len(new)
    return Body(chunks, len(before), last, known.search if known else Search())


def _merge(chunks: list[Chunk]) -> None:
    """Make one of the small chunks at the end, once they are enough: it packs better."""
    at, size = len(chunks), 0
    while at and len(chunks[at - 1]) < _MERGED:
        at -= 1
        size += len(chunks[at])
    if size >= _MERGED:
        chunks[at:] = [Chunk(b"".join(chunks[at:]))]


def _to_seam(chunks: list[Chunk]) -> list[bytes]:
    """The end of ``chunks``, back to where their last item begins."""
    for at in range(len(chunks) - 1, -1, -1):
        if (seam := chunks[at].rfind(_SEAM)) >= 0:
            return [chunks[at][seam + 1 :], *chunks[at + 1 :]]
    return list(chunks)


def _from_seam(chunks: list[Chunk]) -> list[bytes]:
    """The beginning of ``chunks``, up to where their first item ends."""
    for at, chunk in enumerate(chunks):
        if (seam := chunk.find(_SEAM)) >= 0:
            return [*chunks[:at], chunk[: seam + 1]]
    return list(chunks)


def _alike(chunk: bytes, body: bytes, at: int) -> int:
    """How many bytes of ``chunk`` stand in ``body`` from ``at`` on."""
    low, high = 0, len(chunk)
    while low < high:
        middle = (low + high + 1) // 2
        if body.startswith(chunk[low:middle], at + low):
            low = middle
        else:
            high = middle - 1
    return low if low >= _LEAST else 0


def _alike_at_end(chunk: bytes, body: bytes, begin: int, end: int) -> int:
    """How many bytes of the end of ``chunk`` stand in ``body`` before ``end``, none of them before
    ``begin``."""
    low, high, size = 0, min(len(chunk), end - begin), len(chunk)
    while low < high:
        middle = (low + high + 1) // 2
        if body.endswith(chunk[size - middle : size - low], begin, end - low):
            low = middle
        else:
            high = middle - 1
    return low if low >= _LEAST else 0


@lru_cache(maxsize=1)
def _packer() -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=1)


@lru_cache(maxsize=1)
def _unpacker() -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor()
