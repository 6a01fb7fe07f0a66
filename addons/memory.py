"""Memory between turns: what one turn frees, the next takes, without asking the kernel for it.

By default glibc gives the pages of a freed long body back at once, and each turn pays for fresh
ones: at 2 MB a third of what the chain adds. Source: mallopt(3).
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MB = 1024 * 1024


def keep_freed() -> None:
    """Keep up to 128 MB of freed memory; nothing where there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, 32 * _MB)
    mallopt(_TRIM_THRESHOLD, 128 * _MB)
    mallopt(_TOP_PAD, 16 * _MB)
