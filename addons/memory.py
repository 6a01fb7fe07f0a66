"""Memory between turns: what one turn frees, the next takes, without asking the kernel for it.

By default glibc gives the pages of a freed long body back at once, and each turn pays for fresh
ones: at 2 MB a third of what the chain adds. But what it keeps lies in ever smaller gaps between
what stays, and the process grows: so now and then all that is too much goes back. Source:
mallopt(3), malloc_trim(3).
"""

from __future__ import annotations

import asyncio
import ctypes

from addons.stage import Stage

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MB = 1024 * 1024
_MOST_FREE = 128 * _MB
#: Seconds between two looks: it takes some milliseconds, and the next turns pay for fresh pages.
_EVERY = 20.0


class _Info(ctypes.Structure):
    """What mallinfo2 tells, of which the ninth are the free bytes."""

    _fields_ = [("told", ctypes.c_size_t * 10)]


def keep_freed() -> None:
    """Keep up to 128 MB of freed memory; nothing where there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, 32 * _MB)
    mallopt(_TRIM_THRESHOLD, _MOST_FREE)
    mallopt(_TOP_PAD, 16 * _MB)


def free() -> int | None:
    """Bytes that are free in this process; None where there is no glibc of 2021 or later."""
    try:
        told = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        return None
    told.restype = _Info
    return int(told().told[8])


def give_back() -> None:
    """Give the kernel what is free, where that is more than shall be kept."""
    if (free() or 0) > _MOST_FREE:
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(16 * _MB))


class Memory(Stage):
    """Looks now and then, beside the event loop."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def running(self) -> None:
        self._task = asyncio.create_task(self._look())

    def done(self) -> None:
        if self._task:
            self._task.cancel()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            await asyncio.to_thread(give_back)
