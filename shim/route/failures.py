"""Remembers for a few seconds what failed before any answer came.

mitmproxy answers such a failure itself, with a page no addon can change. The client's silent retry
of the same request then gets the readable error from here (codex-wire.md section 6).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from ..turn import Failure

Key = tuple[str, bytes]


def key(who: str, body: bytes) -> Key:
    """The mark of one request: ``who`` sent it (a thread, else an address) and its body."""
    return who, hashlib.blake2b(body, digest_size=16).digest()


class Failures:
    """``note`` a failure, ``recall`` it once within ``seconds``."""

    def __init__(self, seconds: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._noted: dict[Key, tuple[float, Failure]] = {}

    def __bool__(self) -> bool:
        return bool(self._noted)

    def note(self, at: Key, failure: Failure) -> None:
        """Keep ``failure`` for the next request with the same key."""
        now = self._clock()
        self._noted = {k: v for k, v in self._noted.items() if v[0] > now}
        self._noted[at] = (now + self._seconds, failure)

    def recall(self, at: Key) -> Failure | None:
        """What failed lately under this key; it is then forgotten, so that a third try goes out."""
        until, failure = self._noted.pop(at, (0.0, None))
        return failure if until > self._clock() else None
