"""The daemon itself: this process takes the lock, signs, and becomes mitmdump."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from ..lock import Busy
from . import env
from .files import DaemonError, Files, Settings


def run(words: list[str], settings: Settings, files: Files, wait: bool) -> int:
    """Be the daemon until it ends. ``words`` are mitmdump's; DaemonError when there is one.

    With ``wait`` its end is waited for: whoever is kept up by the system takes over from it.
    """
    key = files.key()
    try:
        files.alive.take(None if wait else 1.0)
    except Busy:
        raise DaemonError("a daemon is running already; interpose status says more") from None
    files.keep(settings)
    files.sign(settings)
    os.environ.update(env.with_file(files.environment, os.environ))
    # The command line has settled it.
    os.environ.pop("INTERPOSE_POLICY", None)
    if not (Path.home() / ".mitmproxy").is_dir():
        words = [*words, "--set", f"confdir={files.folder / 'mitmproxy'}"]
    words = [*words, "--set", f"switch_file={files.switched}"]
    # In here, since every user of the machine can read a command line.
    sys.argv = ["mitmdump", *words, "--set", "flow_detail=0", "--set", f"client_keys={key}"]
    try:
        importlib.import_module("mitmproxy.tools.main").mitmdump()
    finally:
        files.sign_off()
        files.alive.release()
    return 0
