"""What a process and its children use: CPU seconds by the clock that the kernel keeps for each
process, and peak memory from /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path


def tree(pid: int) -> list[int]:
    """``pid`` and the processes below it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def cpu(pid: int) -> float:
    """CPU seconds of all threads that ``pid`` has and had, 0 when it has ended.

    Linux gives every process a clock of nanoseconds (clock_getcpuclockid(3)); the ticks in
    /proc/PID/stat are hundredths of a second, more than a small turn takes.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def runnable(pid: int) -> bool:
    """Whether a thread of ``pid`` runs or waits for a processor."""
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            if path.read_text().rpartition(")")[2].split()[0] == "R":
                return True
        except OSError:
            continue
    return False


def peak(pid: int) -> float:
    """The largest memory that ``pid`` has held, in MB."""
    return _status(pid, "VmHWM:")


def resident(pid: int) -> float:
    """The memory that ``pid`` holds now, in MB."""
    return _status(pid, "VmRSS:")


def _status(pid: int, name: str) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = (int(line.split()[1]) for line in status.splitlines() if line.startswith(name))
    return next(found, 0) / 1024
