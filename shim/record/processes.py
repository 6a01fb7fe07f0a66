"""Whether the processes behind a journal's segment still run."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Seconds without a word after which a process on another machine counts as gone.
_SILENT = 86_400.0
#: The same for one in another container of this machine, which may have been started again.
_SILENT_BESIDE = 3600.0
# Of Windows' own header: to ask about a process, and to wait for it.
_ASK, _WAIT = 0x1000, 0x00100000


def describe(pids: Sequence[int]) -> dict[str, Any]:
    """These processes of this machine, so that they are known again."""
    pids_began = [[pid, _began(pid)] for pid in pids]
    return {"host": socket.gethostname(), "boot": _boot(), "space": _space(), "pids": pids_began}


def gone(who: Mapping[str, Any], last: float, now: float) -> bool:
    """Whether all processes that ``who`` describes have ended.

    Those of another machine or container cannot be asked: they are gone a day, or an hour, after
    their ``last`` event.
    """
    if who.get("host") != socket.gethostname():
        return now - last > _SILENT
    if who.get("boot") != _boot():
        return True
    if who.get("space", space := _space()) != space:
        return now - last > _SILENT_BESIDE
    return not any(_runs(int(pid), str(began)) for pid, began in who.get("pids", ()))


def _space() -> str:
    """In which namespace of process numbers this process is; empty where there are none."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _runs(pid: int, began: str) -> bool:
    if sys.platform == "win32":
        # To ask by a signal would end it there.
        return bool(began) and _began(pid) == began
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
    if sys.platform == "win32":
        return _created(pid, ctypes.WinDLL("kernel32"))
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = told.rpartition(")")[2].split()
    return "ended" if fields[0] in "ZX" else fields[19]


def _created(pid: int, kernel: Any) -> str:
    """The same by Windows' ``kernel``."""
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel.OpenProcess(_ASK | _WAIT, False, pid))
    if not handle:
        return ""
    try:
        times = [ctypes.c_uint64() for _ in range(4)]
        if not kernel.GetProcessTimes(handle, *map(ctypes.byref, times)):
            return ""
        # A process that has ended can be waited for, and is while somebody has a handle of it.
        return "ended" if kernel.WaitForSingleObject(handle, 0) == 0 else str(times[0].value)
    finally:
        kernel.CloseHandle(handle)


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
