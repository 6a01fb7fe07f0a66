"""What libfaketime leaves to be done in a Python process whose clock runs fast.

The proxy's monotonic clock is the real one, so that its timeouts stay; the recorder's runs with its
wall clock, else it would take that for one that somebody sets. The kernel stamps files by its own
clock: what they tell is put on the fast one, as if the kernel's were.
"""

import os
import tempfile
import time

_RATE = float(os.environ.get("FAKETIME", "x1").rpartition("x")[2])
_stat = os.stat
# Read by libfaketime when the process began: this is for its children.
os.environ.pop("DONT_FAKE_MONOTONIC", None)


def _both() -> tuple[int, int]:
    """Now, by this clock and by the kernel's, in nanoseconds."""
    with tempfile.NamedTemporaryFile() as file:
        return time.time_ns(), _stat(file.name).st_mtime_ns


_HERE, _KERNEL = _both()


def _on_this_clock(then: int) -> int:
    return _HERE + int((then - _KERNEL) * _RATE)


def stat(*args, **more):
    found = _stat(*args, **more)
    changed = _on_this_clock(found.st_mtime_ns)
    fields = [*found[:8], changed // 10**9, found[9]]
    rest = {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}
    rest |= {"st_mtime": changed / 1e9, "st_mtime_ns": changed}
    return os.stat_result(fields, rest)


def utime(path, times=None, *, ns=None, **more):
    if ns:
        ns = tuple(_KERNEL + int((at - _HERE) / _RATE) for at in ns)
    return _utime(path, times, ns=ns, **more) if ns else _utime(path, times, **more)


_utime = os.utime
if "FAKETIME" in os.environ:
    os.stat, os.utime = stat, utime
