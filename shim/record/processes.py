"""Whether the processes behind a journal's segment still run."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Seconds without a word after which a process on another machine counts as gone.
_SILENT = 86_400.0


def describe(pids: Sequence[int]) -> dict[str, Any]:
    """These processes of this machine, so that they are known again."""
    return {"host": socket.gethostname(), "boot": _boot(), "pids": [[p, _began(p)] for p in pids]}


def gone(who: Mapping[str, Any], last: float, now: float) -> bool:
    """Whether all processes that ``who`` describes have ended.

    Those of another machine cannot be asked: they are gone a day after their ``last`` event.
    """
    if who.get("host") != socket.gethostname():
        return now - last > _SILENT
    if who.get("boot") != _boot():
        return True
    return not any(_runs(int(pid), str(began)) for pid, began in who.get("pids", ()))


def _runs(pid: int, began: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    # Numbers of processes come again.
    return _began(pid) == began


def _began(pid: int) -> str:
    """When a process began, in the kernel's ticks; a mark for those that have ended and are only
    not buried yet; empty where the kernel does not tell."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = told.rpartition(")")[2].split()
    return "ended" if fields[0] in "ZX" else fields[19]


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
