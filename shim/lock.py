"""A lock between processes that the system itself drops when its holder ends, however it ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Seconds between two tries.
_PAUSE = 0.02


class Busy(Exception):
    """Somebody else holds the lock."""


class Lock:
    """The lock that the file ``path`` stands for; the file stays, empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def take(self, patience: float | None = 0.0) -> None:
        """Take it, waiting ``patience`` seconds (None: as long as it takes). Busy when not."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = None if patience is None else time.monotonic() + patience
        try:
            while not _try(fd):
                if deadline is not None and time.monotonic() >= deadline:
                    raise Busy(f"{self.path} is held by another process")
                time.sleep(_PAUSE if deadline is not None else 0.25)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def release(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def held(self) -> bool:
        """Whether some process has taken it. To ask is in nobody's way who asks, too."""
        try:
            fd = os.open(self.path, os.O_RDWR)
        except OSError:
            return False
        try:
            return not _free(fd)
        finally:
            os.close(fd)


@contextmanager
def locked(path: Path, patience: float) -> Iterator[None]:
    """While this lasts, nobody else is in here for ``path``. Busy after ``patience`` seconds."""
    lock = Lock(path)
    lock.take(patience)
    try:
        yield
    finally:
        lock.release()


if sys.platform == "win32":
    import msvcrt

    def _try(fd: int) -> bool:
        try:
            os.lseek(fd, 0, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _free(fd: int) -> bool:
        # There is no shared lock here, so another who asks may be in the way for a moment.
        for _ in range(5):
            if _try(fd):
                return True
            time.sleep(_PAUSE)
        return False
else:
    import fcntl

    def _try(fd: int) -> bool:
        return _flock(fd, fcntl.LOCK_EX)

    def _free(fd: int) -> bool:
        return _flock(fd, fcntl.LOCK_SH)

    def _flock(fd: int, kind: int) -> bool:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
