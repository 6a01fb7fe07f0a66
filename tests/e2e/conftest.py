"""What several end-to-end tests start from: an empty machine, an upstream that never answers."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.chain import free_port
from tests.e2e.clients import codex_binary
from tests.e2e.daily import MINE, Daily
from tests.e2e.place import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    for name in ("home", "cache", "tmp", "work"):
        (tmp_path / name).mkdir()
    env = {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path / "tmp"),
        "CODEX_BIN": str(codex_binary()),
        # Codex's background calls end here instead of on the internet.
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    place = Place(tmp_path, env)
    yield place
    for pid in place.processes():
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def daily(place: Place) -> Daily:
    found = Daily(place.folder, place.env, free_port())
    found.env["NO_PROXY"] = "127.0.0.1"
    found.codex_home.mkdir()
    found.config.write_bytes(MINE)
    return found


@pytest.fixture
def mute() -> Iterator[tuple[str, Callable[[], bool]]]:
    """An upstream that takes a request and never answers: its URL, and whether one has come."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        held: list[socket.socket] = []

        def asked() -> bool:
            try:
                held.append(server.accept()[0])
            except BlockingIOError:
                pass
            for connection in held:
                connection.setblocking(False)
                try:
                    if connection.recv(1):
                        return True
                except BlockingIOError:
                    pass
            return False

        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1", asked
        for connection in held:
            connection.close()
