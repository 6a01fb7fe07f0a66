"""A clock that runs fast, for every Python process that has this folder on its path.

The proxy's monotonic clock stays the real one, and so do its timeouts; the recorder's runs with its
wall clock, else it would take that for one that somebody sets. What the kernel stamps on files is
put on the fast clock. libfaketime does this for any program, and takes half of the proxy's CPU.
"""

import functools
import os
import time

_real = {name: getattr(time, name) for name in dir(time)}
_stat, _utime = os.stat, os.utime


def _run(shows: float, since: float, rate: float, monotonic: bool) -> None:
    """Have the clock show ``shows`` where the real one was at ``since``; ``rate`` times as fast."""

    def fast(then: float) -> float:
        return shows + (then - since) * rate

    def now() -> float:
        return fast(_real["time"]())

    def of_now(name, at):
        """The function ``name`` whose argument number ``at`` is the time; without it, now."""
        made = _real[name]

        def told(*args):
            missing = len(args) <= at or args[at] is None
            return (
                made(*args[:at], now() if at == 0 else time.localtime()) if missing else made(*args)
            )

        # Unlike a function, it is no method where a class has it.
        return functools.partial(told)

    def stat(*args, **more):
        found = _stat(*args, **more)
        changed = fast(found.st_mtime)
        fields = {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}
        fields |= {"st_mtime": changed, "st_mtime_ns": int(changed * 1e9)}
        return os.stat_result([*found[:8], int(changed), found[9]], fields)

    def utime(path, times=None, *, ns=None, **more):
        if ns:
            ns = tuple(int((since + (at / 1e9 - shows) / rate) * 1e9) for at in ns)
            return _utime(path, ns=ns, **more)
        return _utime(path, times, **more)

    time.time, time.time_ns = now, lambda: int(now() * 1e9)
    time.localtime, time.gmtime = of_now("localtime", 0), of_now("gmtime", 0)
    time.strftime = of_now("strftime", 1)
    os.stat, os.utime = stat, utime
    if monotonic:
        time.monotonic = lambda: _real["monotonic"]() * rate
        time.clock_gettime = lambda clock: _real["clock_gettime"](clock) * rate


if "SOAK_CLOCK" in os.environ:
    _run(*map(float, os.environ["SOAK_CLOCK"].split()), "SOAK_CHILD" in os.environ)
    os.environ["SOAK_CHILD"] = "yes"
