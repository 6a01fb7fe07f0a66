"""What several end-to-end tests start from: an empty machine, an upstream that never answers."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shim.cli import main
from tests.e2e.chain import free_port
from tests.e2e.clients import codex_binary
from tests.e2e.daily import MINE, Daily
from tests.e2e.electron import Mac
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


CODESIGN = """#!/bin/sh
echo "$@" >> "$0.log"
for app; do :; done
[ "$1" = --force ] || exit 0
[ -e "$0.kills" ] && kill -9 $PPID
echo ad-hoc > "$app/Contents/_CodeSignature/CodeResources"
[ -e "$0.fails" ] || exit 0
echo "$app: replacing existing signature" >&2
echo "$app: bundle format is ambiguous (could be app or framework)" >&2
exit 1
"""


@pytest.fixture
def codesign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `codesign` on PATH; files beside it say what it shall do."""
    tool = tmp_path / "bin" / "codesign"
    tool.parent.mkdir()
    tool.write_text(CODESIGN)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    return tool


@pytest.fixture
def mac(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], codesign: Path
) -> Mac:
    """The `interpose` command as on a Mac: exit code, what it printed, what it complained of."""
    monkeypatch.setattr(sys, "platform", "darwin")

    def run(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert err.count("\n") == (1 if code else 0), err
        assert "Traceback" not in err and "internal error" not in err
        return code, out, err

    return run


@pytest.fixture
def applications(tmp_path: Path) -> Path:
    path = tmp_path / "Applications"
    path.mkdir()
    return path
