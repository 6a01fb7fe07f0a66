"""Bodies of conversations: each turn sends again what the turns before it sent.

A body is a row of chunks. What it has in common with the last one of its conversation is neither
handed to the recorder, nor searched, nor packed a second time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import zstandard

#: Where items meet: a quote that opens behind a brace is none of a string's, so this is structure.
_SEAM = b'},{"'
#: Small chunks become one from so many bytes on, since it packs better; and so many at the end of a
#: long one are by themselves: there the next turn begins, and the rest need not be packed again.
_CHUNK = 64 * 1024
#: What is alike in so few bytes is not worth a chunk of its own.
_LEAST = 64
#: With more chunks than this a body is cut anew.
_MOST_CHUNKS, _MOST_PARTS = 1000, 64


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
    chunk = Chunk(_unpacker().decompressobj().decompress(frame))
    chunk._frame = frame
    return Body([chunk], 0, 1, Search())


class Search:
    """What came of searching a body ``why``: where something was hidden, ``parts`` is what the body
    then reads, each part with the length that it had before."""

    why: Hashable = None
    parts: list[tuple[int, Chunk]] | None = None


class Body:
    """A body of a conversation; what is not in the last one, whose search was ``known``, begins at
    chunk ``first`` and ends before ``last``."""

    def __init__(self, chunks: list[Chunk], first: int, last: int, known: Search) -> None:
        self.chunks, self._first, self._last = chunks, first, last
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
        if not self._follows(why):
            return bytes(self)
        left, right = self._around()
        return b"".join([*left, *self.chunks[self._first : self._last], *right])

    def told(self, why: Hashable, hide: Callable[[bytes], bytes], *, clean: bool = False) -> Body:
        """The body itself where ``hide`` finds nothing ``why``; else what it then reads. ``clean``:
        nothing is in what was `unsearched`."""
        known = self._known.parts if self._follows(why) else None
        if not known and (clean or hide(piece := self.unsearched(why)) == piece):
            self.search.why = why
            return self
        data, (begin, end) = bytes(self), self._window(why)
        if not known:
            known = [(begin, Chunk(data[:begin])), (len(data) - end, Chunk(data[end:]))]
            first, last = known[:1], known[1:]
        else:
            first, last = _until(known, begin), _until(known[::-1], len(data) - end)[::-1]
        at, till = _size(first), len(data) - _size(last)
        cuts = sorted({at, max(begin, at), min(end, till), till})
        made = [(b - a, Chunk(hide(data[a:b]))) for a, b in pairwise(cuts)]
        self.search.why, self.search.parts = why, _fewer([*first, *made, *last])
        return Body([part for _, part in self.search.parts], 0, 0, Search())

    def _follows(self, why: Hashable) -> bool:
        """Whether the last one was searched ``why``."""
        return self._known.why is not None and self._known.why == why

    def _around(self) -> tuple[list[bytes], list[bytes]]:
        """What belongs to the items where the new begins and ends."""
        return _to_seam(self.chunks[: self._first]), _from_seam(self.chunks[self._last :])

    def _window(self, why: Hashable) -> tuple[int, int]:
        """Where that begins, and ends, which `unsearched` tells."""
        if not self._follows(why):
            return 0, len(self)
        left, right = (sum(map(len, chunks)) for chunks in self._around())
        before = sum(map(len, self.chunks[: self._first]))
        after = sum(map(len, self.chunks[self._last :]))
        return before - left, len(self) - after + right


def _until(parts: list[tuple[int, Chunk]], end: int) -> list[tuple[int, Chunk]]:
    """Those of ``parts`` that end before ``end``."""
    kept, at = [], 0
    for size, part in parts:
        at += size
        if at > end:
            break
        kept.append((size, part))
    return kept


def _size(parts: list[tuple[int, Chunk]]) -> int:
    return sum(size for size, _ in parts)


def _fewer(parts: list[tuple[int, Chunk]]) -> list[tuple[int, Chunk]]:
    """``parts``, the first of them made one where they are many."""
    half = len(parts) // 2 if len(parts) > _MOST_PARTS else 0
    if not half:
        return parts
    joined = Chunk(b"".join([part for _, part in parts[:half]]))
    return [(_size(parts[:half]), joined), *parts[half:]]


class Bodies:
    """The latest body of each conversation, at most ``most`` bytes of them together.

    Two that are told the same in the same order know the same: one sends parts to the other.
    """

    def __init__(self, most: int = 32 * 1024 * 1024) -> None:
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
    new = _cut(part.new)
    chunks, last = [*before, *new, *after], len(before) + len(new)
    return Body(chunks, len(before), last, known.search if known else Search())


def _cut(data: bytes) -> list[Chunk]:
    end = len(data) - _CHUNK if len(data) > 2 * _CHUNK else 0
    return [Chunk(piece) for piece in (data[:end], data[end:]) if piece]


def _merge(chunks: list[Chunk]) -> None:
    """Make one of the small chunks at the end, once they are enough: it packs better."""
    at, size = len(chunks), 0
    while at and len(chunks[at - 1]) < _CHUNK:
        at -= 1
        size += len(chunks[at])
    if size >= _CHUNK:
        chunks[at:] = [Chunk(b"".join(chunks[at:]))]


def _to_seam(chunks: list[Chunk]) -> list[bytes]:
    """The end of ``chunks``, back to where their last item begins."""
    for at in range(len(chunks) - 1, -1, -1):
        seam = _over_end(chunks, at)
        if seam < 0:
            seam = chunks[at].rfind(_SEAM)
        if seam >= 0:
            return [chunks[at][seam + 1 :], *chunks[at + 1 :]]
    return list(chunks)


def _from_seam(chunks: list[Chunk]) -> list[bytes]:
    """The beginning of ``chunks``, up to where their first item ends."""
    for at, chunk in enumerate(chunks):
        seam = chunk.find(_SEAM)
        if seam < 0:
            seam = _over_end(chunks, at)
        if seam >= 0:
            return [*chunks[:at], chunk[: seam + 1]]
    return list(chunks)


def _over_end(chunks: list[Chunk], at: int) -> int:
    """Where in the chunk ``at`` a seam begins that ends in those behind it; -1 for none."""
    most = len(_SEAM) - 1
    end = chunks[at][-most:]
    seam = (end + b"".join([c[:most] for c in chunks[at + 1 : at + 1 + most]])[:most]).rfind(_SEAM)
    return len(chunks[at]) - len(end) + seam if seam >= 0 else -1


def _alike(chunk: bytes, body: bytes, at: int) -> int:
    """How many bytes of ``chunk`` stand in ``body`` from ``at`` on."""
    return _most(len(chunk), lambda a, b: body.startswith(chunk[a:b], at + a))


def _alike_at_end(chunk: bytes, body: bytes, begin: int, end: int) -> int:
    """How many bytes of the end of ``chunk`` stand in ``body`` before ``end``, none of them before
    ``begin``."""
    size = len(chunk)
    most = min(size, end - begin)
    return _most(most, lambda a, b: body.endswith(chunk[size - b : size - a], begin, end - a))


def _most(high: int, same: Callable[[int, int], bool]) -> int:
    """Up to where, ``high`` at most, ``same`` holds for what is between two places; 0 where that is
    not worth a chunk."""
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        if same(low, middle):
            low = middle
        else:
            high = middle - 1
    return low if low >= _LEAST else 0


@lru_cache(maxsize=1)
def _packer() -> zstandard.ZstdCompressor:
    # With its size, a frame would be all that older readers take of a body.
    return zstandard.ZstdCompressor(level=1, write_content_size=False)


@lru_cache(maxsize=1)
def _unpacker() -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor()
