"""Starting Codex Desktop on macOS, and starting it anew: it reads its config when it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

from .desktop import App, DesktopError, find_app, running
from .where import codex_home

#: Seconds the app has to end when it is asked to.
PATIENCE = 15.0
_PAUSE = 0.1
#: The part of a bundle that holds the app's own program; what else runs in there ends with it.
_PROGRAM = "MacOS/"


def start(app: App, folder: Path | None = None) -> None:
    """Start the app, or bring it to the front; a new thread in ``folder``, if one is named."""
    words = ["open", "-a", str(app.path)]
    if os.environ.get("CODEX_HOME"):
        # An app gets its environment from macOS, not from a shell.
        words[1:1] = ["--env", f"CODEX_HOME={codex_home()}"]
    if folder is not None:
        # As `codex app` does it.
        words.append(f"codex://threads/new?{urlencode({'path': str(folder)})}")
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise DesktopError(f"`open` did not run: {e}") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise DesktopError(f"macOS did not start {app.path}: {said[-500:]}")


def quit(app: App) -> bool:
    """End the app as its own Quit does; whether it ran. DesktopError when it does not end."""
    pids = running(app, _PROGRAM)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while pids and running(app, _PROGRAM):
        if time.monotonic() > deadline:
            raise DesktopError(
                f"Codex Desktop does not end within {PATIENCE:.0f} s: quit it yourself"
            )
        time.sleep(_PAUSE)
    return bool(pids)


def restart() -> str:
    """Start the app anew if it runs; what came of it, in one sentence."""
    try:
        app = find_app(None)
        if not quit(app):
            return "Codex Desktop does not run: there was nothing to restart."
        start(app)
    except (DesktopError, OSError) as e:
        return f"Codex Desktop was not restarted: {e}."
    return "Codex Desktop was restarted."
