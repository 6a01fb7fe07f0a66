"""Starting, finding and ending the daemon from another process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..codex.where import own_command, without_proxy
from ..lock import Busy, locked
from ..system import detached, listener, replace
from .files import DaemonError, Files, Settings, Status, health, taken

#: Seconds a daemon has to come up, below what Codex waits for `ensure`.
PATIENCE = 25.0
#: Seconds it has to end by itself.
GRACE = 8.0
_PAUSE = 0.03


def start(settings: Settings, files: Files, say: Callable[[str], None] = lambda line: None) -> bool:
    """Have a daemon that answers; whether it had to be started. DaemonError when there is none.

    Two that start at once get the same one. ``say`` hears once that there is something to wait for.
    """
    deadline = time.monotonic() + PATIENCE
    files.make()
    try:
        with locked(files.starting, PATIENCE):
            if files.alive.held():
                _wait(files, None, deadline)
                return False
            if taken(settings.port):
                who = listener(settings.port)
                raise DaemonError(
                    f"port {settings.port} of 127.0.0.1 is taken by another program"
                    f"{f' ({who})' if who else ''};"
                    " end that, or take another: interpose restart --port NUMBER"
                )
            say(f"starting the daemon on 127.0.0.1:{settings.port}")
            files.keep(settings)
            files.sign_off()
            _wait(files, _spawn(files), deadline)
            return True
    except Busy:
        raise DaemonError(f"another command has been starting it for {PATIENCE:.0f} s") from None
    except OSError as e:
        raise DaemonError(f"{e.filename or files.folder}: {e.strerror or e}") from None


def stop(files: Files) -> bool:
    """End the daemon; whether there was one."""
    who = files.who()
    pid = who.get("pid")
    if not pid:
        if files.alive.held():
            raise DaemonError(f"a daemon is just starting; try again, or see {files.log}")
        return False
    if not _ours(pid):
        raise DaemonError(f"process {pid} does not look like Interpose and was left alone")
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
        except OSError as e:
            raise DaemonError(f"process {pid} cannot be ended: {e.strerror}") from None
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline:
            # It signs off before the system takes its port back.
            now = files.who()
            if now.get("pid") != pid and (now or not taken(who.get("port", 0))):
                return True
            time.sleep(_PAUSE)
    raise DaemonError(f"process {pid} does not end")


def status(files: Files | None = None) -> Status:
    """The daemon as it is now; for anybody who wants to know."""
    return (files or Files()).status()


def _spawn(files: Files) -> subprocess.Popen[bytes]:
    if files.log.exists() and files.log.stat().st_size > 4_000_000:
        replace(files.log, files.log.with_suffix(".log.1"))
    fd = os.open(files.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    env = {**without_proxy(os.environ), "INTERPOSE_HOME": str(files.folder)}
    with os.fdopen(fd, "ab") as log:
        return subprocess.Popen(
            [*own_command(), "start", "--foreground"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=files.folder,
            **detached(sys.platform),
        )


def _wait(files: Files, process: subprocess.Popen[bytes] | None, deadline: float) -> None:
    while time.monotonic() < deadline:
        who = files.who()
        if who and health(who["port"], max(0.1, deadline - time.monotonic())):
            return
        if process and process.poll() is not None and not files.alive.held():
            raise DaemonError(f"the daemon did not start: {files.last_words()} (see {files.log})")
        time.sleep(_PAUSE)
    pid = files.who().get("pid")
    what = f"the daemon (process {pid})" if pid else "the daemon"
    raise DaemonError(
        f"{what} does not answer within {PATIENCE:.0f} s; interpose restart, or see {files.log}"
    )


def _ours(pid: int) -> bool:
    """Whether that process may be our daemon, by its command line."""
    if sys.platform == "win32":
        return _is_python(_said("tasklist", "/FI", f"PID eq {pid}", "/FO", "CSV", "/NH"))
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        line = raw.replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        line = _said("ps", "-ww", "-o", "command=", "-p", str(pid))
    return "start --foreground" in line


def _is_python(listed: str) -> bool:
    """Whether `tasklist`, which tells no command line, names a program that ours can be."""
    name = listed.strip().lower().partition(",")[0].strip('"')
    return name in ("interpose.exe", "python.exe", "pythonw.exe")


def _said(*words: str) -> str:
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
