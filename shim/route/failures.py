"""Remembers for a few seconds what failed before an answer was whole.

mitmproxy answers some failures itself, with a page no addon can change. The client's silent retry
of the same request then goes to the next candidate, or gets the readable error from here
(codex-wire.md section 6).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from ..turn import Failure, Turn

Key = tuple[str, bytes]


def key(who: str, turn: Turn) -> Key:
    """The mark of one request: ``who`` sent it (a thread, else an address) and what it asks.

    Codex writes new metadata into a retry; the rest is the same.
    """
    mark = hashlib.blake2b(digest_size=16)
    for name, raw in turn.own.items():
        if name != "client_metadata":
            mark.update(name.encode())
            mark.update(raw)
    return who, mark.digest()


class Failures:
    """``note`` a failure and what was tried, ``recall`` both once within ``seconds``."""

    def __init__(self, seconds: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._noted: dict[Key, tuple[float, Failure, frozenset[str]]] = {}

    def __bool__(self) -> bool:
        return bool(self._noted)

    def note(self, at: Key, failure: Failure, tried: frozenset[str] = frozenset()) -> None:
        """Keep ``failure`` for the next request with the same key."""
        now = self._clock()
        self._noted = {k: v for k, v in self._noted.items() if v[0] > now}
        self._noted[at] = (now + self._seconds, failure, tried)

    def recall(self, at: Key) -> tuple[Failure, frozenset[str]] | None:
        """What failed lately under this key; it is then forgotten, so that a third try goes out."""
        until, failure, tried = self._noted.pop(at, (0.0, Failure(""), frozenset()))
        return (failure, tried) if until > self._clock() else None
