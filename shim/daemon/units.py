"""The daemon as a service of the user's own systemd or launchd, which starts it again when it dies.

A clean end, such as by `interpose stop`, is no death: it stays down until the next login.
"""

from __future__ import annotations

import os
import plistlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path, PurePath, PurePosixPath

from ..codex.where import home_path, own_command, state_folder
from .files import DaemonError

#: Its name at systemd, and at launchd.
UNIT, LABEL = "interpose.service", "interpose.daemon"


def install() -> Path:
    """Write the unit and have it run from now on; its file. DaemonError when that cannot be."""
    path = _path()
    if path is None:
        raise DaemonError("there is no service for Windows; Codex starts the daemon by itself")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text(sys.platform, own_command(), str(state_folder())))
    except OSError as e:
        raise DaemonError(f"{path} cannot be written: {e.strerror}") from None
    for words in commands(sys.platform, str(path), on=True):
        why = _run(words)
        if why:
            remove()
            raise DaemonError(f"`{' '.join(words)}` failed: {why}; the service was taken back")
    return path


def remove() -> bool:
    """End the service and remove its file; whether there was one."""
    path = _path()
    if path is None or not path.exists():
        return False
    first, *rest = commands(sys.platform, str(path), on=False)
    _run(first)
    path.unlink(missing_ok=True)
    for words in rest:
        _run(words)
    return True


def place(env: Mapping[str, str], system: str) -> PurePath | None:
    """Where the unit goes on that ``sys.platform``; None where there are none."""
    if system == "win32":
        return None
    home = home_path(env, system)
    if system == "darwin":
        return home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    named = env.get("XDG_CONFIG_HOME", "")
    base = PurePosixPath(named) if named.startswith("/") else home / ".config"
    return base / "systemd" / "user" / UNIT


def text(system: str, command: list[str], state: str) -> bytes:
    """The unit's file. It waits while a daemon that Codex has started runs."""
    words = [*command, "start", "--foreground", "--wait"]
    if system == "darwin":
        return plistlib.dumps(
            {
                "Label": LABEL,
                "ProgramArguments": words,
                "EnvironmentVariables": {"INTERPOSE_HOME": state},
                "RunAtLoad": True,
                "KeepAlive": {"SuccessfulExit": False},
                "StandardOutPath": f"{state}/daemon.log",
                "StandardErrorPath": f"{state}/daemon.log",
            }
        )
    lines = [
        "[Unit]",
        "Description=Interpose, between Codex and any model",
        # However often it dies, it is started again.
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        f"ExecStart={' '.join(map(_quoted, words))}",
        f"Environment={_quoted(f'INTERPOSE_HOME={state}', '%')}",
        "Restart=on-failure",
        "RestartSec=1",
        "",
        "[Install]",
        "WantedBy=default.target",
        "",
    ]
    return "\n".join(lines).encode()


def commands(system: str, path: str, on: bool) -> list[list[str]]:
    """What turns it on, or off: the first of those before the file goes, the others after."""
    if system == "darwin":
        # Windows, where tests of this run, has no such numbers.
        domain = f"gui/{getattr(os, 'getuid', int)()}"
        if on:
            return [["launchctl", "bootstrap", domain, path]]
        return [["launchctl", "bootout", f"{domain}/{LABEL}"]]
    control = ["systemctl", "--user"]
    if on:
        return [[*control, "daemon-reload"], [*control, "enable", "--now", UNIT]]
    return [[*control, "disable", "--now", UNIT], [*control, "daemon-reload"]]


def _path() -> Path | None:
    found = place(os.environ, sys.platform)
    return Path(found) if found else None


def _run(words: list[str]) -> str:
    """Why it failed; empty when it did not."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        return str(e)
    lines = (done.stderr or done.stdout).strip().splitlines()
    return (lines[0] if lines else f"exit code {done.returncode}") if done.returncode else ""


def _quoted(word: str, doubled: str = "%$") -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    for sign in doubled:
        escaped = escaped.replace(sign, sign * 2)
    return f'"{escaped}"'
