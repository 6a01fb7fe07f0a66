"""Runs an agent's program, and leaves nothing of it behind: not even when the chain is killed.

``python keeper.py LIFELINE PROGRAM WORDS…``; the descriptor LIFELINE ends when the turn is over or
the chain is gone. On Linux whatever the program starts becomes a child of this process when its
parent ends, also what has left the process group, and ends with it. Standard library only, run
without site-packages: it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

#: Seconds between asking the program to end and ending it.
GRACE = 2.0
#: What the exit code of a program that a signal has ended is counted from, as shells do.
SIGNALLED = 128
_LINUX = sys.platform == "linux"
_CHILD_SUBREAPER = 36


def main() -> int:
    # In here, since Windows has them not and takes the numbers above from this file.
    stops = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    lifeline, words = int(sys.argv[1]), sys.argv[2:]
    _adopt()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGCHLD, *stops):
        # A handler, since what is ignored stays so in the program.
        signal.signal(number, lambda number, frame: None)
    try:
        # Let go of, it would reap by itself what has ended already.
        process = subprocess.Popen(words)
    except (OSError, ValueError) as e:
        print(f"cannot be started: {getattr(e, 'strerror', None) or e}", file=sys.stderr)
        return 126
    child = process.pid
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        # Its end of the pipes is the program's alone.
        os.dup2(nothing, descriptor)
    code: int | None = None
    deadline: float | None = None
    while (code := _reap(child)) is None:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        wanted = [woken] if deadline else [woken, lifeline]
        ready = select.select(wanted, [], [], left)[0]
        told: set[int] = set()
        with contextlib.suppress(BlockingIOError):
            told = set(os.read(woken, 4096)) & set(stops)
        if deadline is None and (lifeline in ready or told):
            deadline = time.monotonic() + GRACE
            os.killpg(0, signal.SIGTERM)
        elif deadline is not None and time.monotonic() >= deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            deadline += GRACE
    _sweep(stopped=deadline is not None)
    return code


def _adopt() -> None:
    """Become the parent of what the program's own children leave behind."""
    if _LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)


def _reap(child: int) -> int | None:
    """The exit code of ``child``, None while it runs; others that have ended are let go."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                return code if code >= 0 else SIGNALLED - code
    return None


def _sweep(stopped: bool) -> None:
    """End what the program has left behind."""
    if not _LINUX:
        if stopped:
            os.killpg(0, signal.SIGKILL)
        return
    while children := _children():
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _children() -> list[int]:
    me, found = os.getpid(), []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if parent == me:
            found.append(int(name))
    return found


if __name__ == "__main__":
    sys.exit(main())
