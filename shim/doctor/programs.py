"""Finds every `codex` there is and asks each for its version, all at once and not for long."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from ..codex.find import local_folder
from ..system import end_group
from .clients import Client, Place

#: Seconds for ``codex --version``.
PATIENCE = 1.5
_MOST = 8
_NAMES = ("codex.cmd", "codex.exe") if os.name == "nt" else ("codex",)
_ANSWER = 400


def programs(env: Mapping[str, str]) -> list[Client]:
    """The clients that ``CODEX_BIN``, PATH and the local folder hold, each program once."""
    found: dict[str, Client] = {}

    def add(path: Path, place: Place) -> None:
        # A folder of PATH may be another user's; pathlib would raise.
        if os.path.isfile(path) and os.access(path, os.X_OK):
            found.setdefault(os.path.realpath(path), Client(path, place))

    if named := env.get("CODEX_BIN"):
        add(Path(named), "CODEX_BIN")
    for part in env.get("PATH", "").split(os.pathsep):
        for name in _NAMES if part else ():
            add(Path(part) / name, "PATH")
    for folder in sorted(local_folder().glob("codex-*"), reverse=True):
        for name in _NAMES:
            add(folder / "node_modules" / ".bin" / name, "pinned")
    return list(found.values())[:_MOST]


def asked(found: Sequence[Client], patience: float = PATIENCE) -> list[Client]:
    """``found``, each with what it says to ``--version``."""
    if not found:
        return []
    # Even for its version Codex puts links into its home; into the user's own nothing is put.
    with tempfile.TemporaryDirectory(prefix="interpose-doctor-") as home:
        env = {**os.environ, "CODEX_HOME": home}
        with ThreadPoolExecutor(len(found)) as pool:
            return list(pool.map(lambda client: _ask(client, patience, env), found))


def _ask(client: Client, patience: float, env: Mapping[str, str]) -> Client:
    try:
        process = subprocess.Popen(
            [client.path, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )
    except OSError as e:
        return msgspec.structs.replace(client, problem=f"cannot be run: {e.strerror or e}")
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(patience, end)
    timer.start()
    try:
        assert process.stdout
        with process.stdout as output:
            said = output.read(_ANSWER)
    finally:
        timer.cancel()
        _kill(process)
        process.wait()
    if late.is_set():
        return msgspec.structs.replace(client, problem=f"does not answer within {patience:g} s")
    return msgspec.structs.replace(client, said=said.decode("utf-8", "replace"))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started, which may hold its output open."""
    end_group(process.pid)
