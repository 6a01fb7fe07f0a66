"""The daemon itself: this process takes the lock, signs, and becomes mitmdump."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from ..lock import Busy
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
    _add_environment(files.environment)
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


def _add_environment(path: Path) -> None:
    """The user's own lines ``NAME=value``: what starts at login has no shell to take keys from."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as e:
        raise DaemonError(f"{path} cannot be read: {e}") from None
    for number, line in enumerate(lines, 1):
        name, sign, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if not sign or not name.isidentifier():
            raise DaemonError(f"{path}:{number}: this is no line NAME=value")
        os.environ.setdefault(name, value.strip("'\""))
