"""Printing to what may not take it: a reader that goes away (``interpose replay flows | head``), a
full disk."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO}


def printing(run: Callable[[], int]) -> int:
    """The exit code of ``run``, which prints. 141, and no word, when whoever read the output has
    gone, as a shell tells of a program that ended so; 130 on Ctrl-C; 1 when it cannot be written.
    """
    try:
        try:
            return run()
        finally:
            # What the interpreter would write only at its end, where nobody can catch.
            if sys.stdout:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OSError as e:
        if not of_output(e):
            raise
        _drop()
        if isinstance(e, BrokenPipeError):
            return 141
        print(f"interpose: the output cannot be written: {e.strerror}", file=sys.stderr)
        return 1


def of_output(error: OSError) -> bool:
    """Whether it is what printing raises when nobody can take the output."""
    if isinstance(error, BrokenPipeError):
        return True
    return error.errno in _FULL and error.filename is None


def _drop() -> None:
    """Let what is still to be written go nowhere: the interpreter would complain at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
