"""Bodies that were searched before, all but a piece: each turn sends its conversation again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

_BLOCK = 64 * 1024
#: Where items meet: a quote that opens behind a brace is none of a string's, so this is structure.
_SEAM = b'},{"'


class Searched:
    """Remembers the latest body of each of its keys, if nothing was found in it; at most ``most``
    bytes of them together."""

    def __init__(self, most: int = 32 * 1024 * 1024) -> None:
        self._most = most
        self._bytes = 0
        self._clean: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def data(self, key: Hashable, body: bytes, search: Callable[[bytes], bytes]) -> bytes:
        """What ``search`` makes of ``body``; only what is new since the last body of ``key`` is
        searched, from the item where it begins to the one where it ends."""
        with self._lock:
            known = self._clean.pop(key, b"")
            self._bytes -= len(known)
        begin, end = _new(known, body)
        piece = body[begin:end]
        made = search(piece)
        if made != piece:
            return body[:begin] + made + body[end:]
        with self._lock:
            self._bytes += len(body) - len(self._clean.pop(key, b""))
            self._clean[key] = body
            while self._bytes > self._most:
                self._bytes -= len(self._clean.popitem(last=False)[1])
        return body


def _new(known: bytes, body: bytes) -> tuple[int, int]:
    """Where ``body`` is not as ``known``, widened to whole items."""
    if not known:
        return 0, len(body)
    begin = _alike(known, body)
    if begin == len(body) == len(known):
        return 0, 0
    rest = min(len(known), len(body)) - begin
    end = len(body) - _alike_at_end(known, body, rest)
    begin = max(0, body.rfind(_SEAM, 0, begin) + 1)
    seam = body.find(_SEAM, end)
    return begin, len(body) if seam < 0 else seam + 1


def _alike(a: bytes, b: bytes) -> int:
    """How many bytes ``a`` and ``b`` have in common at their beginning."""
    most, at = min(len(a), len(b)), 0
    while at < most and a[at : at + _BLOCK] == b[at : at + _BLOCK]:
        at += _BLOCK
    size = min(_BLOCK, most - at)
    while size > 0 and a[at : at + size] != b[at : at + size]:
        size //= 2
        if a[at : at + size] == b[at : at + size]:
            at += size
    return min(at + max(size, 0), most)


def _alike_at_end(a: bytes, b: bytes, most: int) -> int:
    """How many bytes, ``most`` at most, ``a`` and ``b`` have in common at their end."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if a[len(a) - middle : len(a) - low] == b[len(b) - middle : len(b) - low]:
            low = middle
        else:
            high = middle - 1
    return low
