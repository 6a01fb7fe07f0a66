"""Ends the process when it cannot start as asked: one line, exit code 1, no traceback."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from mitmproxy import exceptions


def stop(why: str, *, running: bool) -> NoReturn:
    """Say ``why`` on stderr and exit 1; once ``running``, only the change of option is refused."""
    if running:
        raise exceptions.OptionsError(why)
    sys.stdout.flush()
    print(f"interpose: {why}", file=sys.stderr, flush=True)
    # Scripts load in a task of their own: an exception there becomes a traceback and the
    # listener stays. Nothing is open yet that would need a tidy end.
    os._exit(1)
