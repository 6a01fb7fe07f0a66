"""Printing to what may not take it: a reader that goes away (``interpose replay flows | head``), a
full disk."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..shown import escaped

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO}


def printing(run: Callable[[], int]) -> int:
    """The exit code of ``run``, which prints. 141, and no word, when whoever read the output has
    gone, as a shell tells of a program that ended so; 130 on Ctrl-C; 1 when it cannot be written.
    What others say is printed so that a terminal takes no command from it.
    """
    with _Escaping.both():
        return _printing(run)


def _printing(run: Callable[[], int]) -> int:
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


class _Escaping:
    """A stream on which `print` writes no control characters but lines and tabs. ``stream`` is
    what rich writes to, which has commands of its own for a terminal (`shim.cli.screen`)."""

    def __init__(self, stream: Any) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        self.rich_proxied_file.write(escaped(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)

    @staticmethod
    @contextmanager
    def both() -> Iterator[None]:
        """Have it for standard output and error; there may be none of them."""
        out, err = sys.stdout, sys.stderr
        wrapped: Any = [stream and _Escaping(stream) for stream in (out, err)]
        sys.stdout, sys.stderr = wrapped
        try:
            yield
        finally:
            sys.stdout, sys.stderr = out, err


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
