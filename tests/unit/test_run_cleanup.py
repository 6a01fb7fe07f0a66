"""What Codex leaves running when it ends: nothing of it may outlive `interpose run`."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shim.cli import run

pytestmark = pytest.mark.slow

STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
WAIT = "print('up', flush=True)\nimport time\ntime.sleep(60)\n"


@pytest.mark.parametrize(
    ("script", "ended"), [(WAIT, signal.SIGTERM), (STUBBORN + WAIT, signal.SIGKILL)]
)
def test_a_daemon_in_the_temporary_home_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, ended: signal.Signals
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(run, "STRAGGLER_GRACE", 1.0)
    with run.temporary_home() as home:
        daemon = home / "daemon.py"
        daemon.write_text(script)
        process = subprocess.Popen(
            [sys.executable, str(daemon)], start_new_session=True, stdout=subprocess.PIPE
        )
        assert process.stdout and process.stdout.readline() == b"up\n"
    assert process.wait(timeout=5) == -ended
    assert not home.exists()


def test_an_empty_home_ends_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with run.temporary_home():
        pass
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
