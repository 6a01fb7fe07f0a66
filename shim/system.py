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


def listener(port: int) -> str:
    """Who listens on that loopback port, as ``NAME, process NUMBER``; empty when nobody can tell,
    such as where it is another user's."""
    if sys.platform == "win32":
        return ""
    if Path("/proc/net/tcp").exists():
        pid = _listener(port, Path("/proc"))
        with suppress(OSError):
            return f"{Path(f'/proc/{pid}/comm').read_text('utf-8').strip()}, process {pid}"
        return ""
    try:
        found = subprocess.run(
            ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"],
            capture_output=True, text=True, timeout=3, check=False,
        ).stdout  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    told = {line[:1]: line[1:] for line in reversed(found.splitlines())}
    return f"{told['c']}, process {told['p']}" if {"c", "p"} <= told.keys() else ""


def _listener(port: int, proc: Path) -> int:
    """The process that holds the listening socket of that port; 0 when none is seen."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                # 0A: LISTEN; the port is in hexadecimal.
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    for entry in proc.glob("[0-9]*") if sockets else ():
        # Those of other users may not be looked at.
        with suppress(OSError):
            for link in (entry / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(link) in sockets:
                        return int(entry.name)
    return 0


def private_folder(path: Path) -> None:
    """Make the folder ``path``, and those around it that are missing, for this user only."""
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)


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
