"""Changing a user's file whole: under a lock, by a temporary file, its mode and link kept."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..lock import Busy, locked
from ..system import replace
from . import config
from .config import ConfigError, Setting
from .where import state_folder

#: Seconds to wait for another command that is changing the file.
_PATIENCE = 10.0


def enable(path: Path, setting: Setting) -> bool:
    """Put the block into the file, or bring it up to date; whether that changed it."""
    return _edit(path, lambda raw, there: config.apply(raw, setting, str(path), new=not there))


def disable(path: Path) -> bool:
    """Take the block out; whether there was one. A file that only we had made goes, too."""

    def change(raw: bytes, there: bool) -> bytes | None:
        if not there:
            return None
        left = config.strip(raw, str(path))
        return None if config.is_new(raw) and not left else left

    return _edit(path, change)


def read(path: Path) -> bytes | None:
    """The file's bytes; None when there is none. ConfigError when it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror or e}") from None


def write(path: Path, data: bytes) -> None:
    """Replace the file at ``path`` (or behind that link) at once; a new one is the user's alone."""
    target = Path(os.path.realpath(path))
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o600
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, mode)
            replace(name, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
    except OSError as e:
        raise ConfigError(f"{path} cannot be written: {e.strerror or e}") from None


def _edit(path: Path, change: Callable[[bytes, bool], bytes | None]) -> bool:
    try:
        with locked(state_folder() / "config.lock", _PATIENCE):
            while True:
                before = read(path)
                after = change(before or b"", before is not None)
                if after == before:
                    return False
                # Codex writes this file, too, and knows nothing of our lock.
                if read(path) == before:
                    break
            if after is None:
                Path(os.path.realpath(path)).unlink(missing_ok=True)
            else:
                write(path, after)
            return True
    except Busy:
        raise ConfigError(f"another command is changing {path}; try again") from None
    except OSError as e:
        raise ConfigError(f"{e.filename or path}: {e.strerror or e}") from None
