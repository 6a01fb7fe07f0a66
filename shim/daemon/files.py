"""What the daemon keeps in the state folder: who it is, how it was started, client key and log.

That it lives is told by a lock which the system drops when it ends, never by a process number: a
number may be somebody else's by now.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..codex.where import state_folder
from ..live.troubles import troubles
from ..lock import Lock
from ..system import replace

#: Where the daemon listens unless it is told otherwise.
PORT = 8790
_HEALTH = "GET /health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%sConnection: close\r\n\r\n"


class DaemonError(Exception):
    """Why there is no daemon, and what to do, in one line."""


@dataclass(frozen=True)
class Settings:
    """How the daemon is started; kept, so that it comes up again the same. ``record_dir`` empty:
    nothing is recorded. ``model`` answers instead of the policy's default; empty: that does."""

    policy: str
    port: int = PORT
    record_dir: str = ""
    model: str = ""

    @property
    def base_url(self) -> str:
        """What a client takes as its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"


@dataclass(frozen=True)
class Status:
    """What is known of the daemon now. ``answers`` is what its `/health` says: ok, degraded, and
    ``problems`` are the reasons and other troubles, each with the next step."""

    running: bool
    pid: int | None
    port: int
    policy: str | None
    answers: str | None
    log: str
    problems: tuple[str, ...] = ()


class Files:
    """The daemon's files below ``folder``."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_folder()
        self.log = self.folder / "daemon.log"
        self.environment = self.folder / "env"
        self.alive = Lock(self.folder / "daemon.lock")
        self.starting = self.folder / "start.lock"
        #: The model that was switched to; its chain reads it anew whenever it changes.
        self.switched = self.folder / "model.json"
        self._key = self.folder / "client-key"
        self._who = self.folder / "daemon.json"
        self._settings = self.folder / "settings.json"

    def make(self) -> None:
        """The folder, for this user alone."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as e:
            raise DaemonError(f"{self.folder} cannot be made: {e.strerror}") from None

    def key(self) -> str:
        """The key a client of the daemon sends; made once."""
        self.make()
        try:
            if found := self._key.read_text(encoding="ascii").strip():
                return found
        except (FileNotFoundError, UnicodeDecodeError):
            pass
        made = secrets.token_urlsafe(32)
        write(self._key, made + "\n")
        return made

    def kept_key(self) -> str:
        """The same key, where there is one that can be read."""
        try:
            return self._key.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def settings(self) -> Settings | None:
        """As it was started last; None before the first time."""
        found = _read(self._settings)
        try:
            return Settings(**found) if found else None
        except TypeError:
            return None

    def keep(self, settings: Settings) -> None:
        """Start it like that from now on."""
        self.make()
        write(self._settings, json.dumps(asdict(settings), indent=1) + "\n")

    def sign(self, settings: Settings) -> None:
        """Say that this process is the daemon; its lock is held."""
        write(self._who, json.dumps({"pid": os.getpid(), **asdict(settings)}) + "\n")

    def sign_off(self) -> None:
        """The daemon ends, or its successor has not signed yet."""
        with suppress(OSError):
            self._who.unlink()

    def who(self) -> dict[str, Any]:
        """What the daemon that lives has signed; empty when none does, or it has not signed yet."""
        return _read(self._who) if self.alive.held() else {}

    def status(self) -> Status:
        """The daemon as it is now."""
        who = self.who()
        settings = self.settings()
        port = int(who.get("port") or (settings.port if settings else PORT))
        says = page(port, key=self.kept_key()) if who else None
        return Status(
            running=bool(who),
            pid=who.get("pid"),
            port=port,
            policy=who.get("policy") or (settings.policy if settings else None),
            answers=str(says["status"]) if says else None,
            log=str(self.log),
            problems=tuple(f"it {t.what}; {t.step}" for t in troubles(says or {})),
        )

    def remove(self) -> None:
        """All of it, and the folder if nothing else is in there. No daemon runs."""
        ours = [self._key, self._who, self._settings, self.log, self.alive.path, self.starting]
        ours.append(self.switched)
        ours += [self.log.with_suffix(".log.1"), self.folder / "config.lock"]
        for path in ours:
            with suppress(OSError):
                path.unlink()
        shutil.rmtree(self.folder / "mitmproxy", ignore_errors=True)
        with suppress(OSError):
            self.folder.rmdir()

    def last_words(self) -> str:
        """The last line of the log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""


def health(port: int, patience: float = 5.0) -> str | None:
    """The status that a chain on that loopback port tells; None when none answers."""
    status = page(port, patience).get("status")
    return None if status is None else str(status)


def page(port: int, patience: float = 5.0, key: str = "") -> dict[str, Any]:
    """The ``/health`` of a chain on that loopback port, all of it for who has the ``key`` it wants;
    empty when none answers."""
    line = f"Authorization: Bearer {key}\r\n" if key else ""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
            connection.settimeout(patience)
            connection.sendall((_HEALTH % (port, line)).encode())
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        says = json.loads(answer.partition(b"\r\n\r\n")[2])
    except (OSError, ValueError, OverflowError, RecursionError):
        return {}
    return says if isinstance(says, dict) and "status" in says else {}


def taken(port: int) -> bool:
    """Whether some program listens there."""
    with socket.socket() as probe:
        if os.name != "nt":  # where it would allow what it is to find out
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, text: str) -> None:
    """For this user alone, and never half."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    replace(part, path)
