"""What differs between systems in starting and ending processes, and in replacing files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

# Of Windows' own header; Python has the names there only.
_NEW_GROUP, _NO_WINDOW = 0x00000200, 0x08000000
#: Seconds a file that somebody reads is waited for.
_PATIENCE = 2.0
_PAUSE = 0.01


def detached(system: str) -> dict[str, Any]:
    """What makes a new process outlive us and our terminal, on that ``sys.platform``."""
    if system == "win32":
        return {"creationflags": _NEW_GROUP | _NO_WINDOW}
    return {"start_new_session": True}


def grouped(system: str) -> dict[str, Any]:
    """What puts a new process into a group of its own, at the same terminal."""
    return {"creationflags": _NEW_GROUP} if system == "win32" else {"process_group": 0}


def end_group(pid: int, *, gently: bool = False) -> None:
    """End a process that leads its group, and all that it has started; nothing if it is gone.

    ``gently`` lets it tidy up, where that can be asked for.
    """
    if sys.platform == "win32":
        words = ["taskkill", "/T", "/F", "/PID", str(pid)]
        with suppress(OSError):
            subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGTERM if gently else signal.SIGKILL)


def shell(command: str) -> list[str] | str:
    """What `subprocess` takes to have the system's shell run ``command``."""
    if sys.platform == "win32":
        return f'{os.environ.get("COMSPEC", "cmd.exe")} /d /s /c "{command}"'
    return ["sh", "-c", command]


def replace(fresh: str | Path, path: str | Path) -> None:
    """Put ``fresh`` in the place of ``path`` at once. Windows refuses while somebody has that
    open, so there it is tried for a while."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            os.replace(fresh, path)
            return
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
