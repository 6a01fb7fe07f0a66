"""Ends the process when it cannot start as it was told to: one line, exit code 1, no traceback."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from mitmproxy import exceptions


def fatal(message: str, *, running: bool) -> NoReturn:
    """Print ``message`` and exit 1; once ``running``, only the change of option is refused."""
    if running:
        raise exceptions.OptionsError(message)
    sys.stdout.flush()
    print(f"interpose: {message}", file=sys.stderr, flush=True)
    # Scripts load in a task of their own: an exception there becomes a traceback and the
    # listener stays. Nothing is open yet that would need a tidy end.
    os._exit(1)
