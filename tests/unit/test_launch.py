"""Starting Codex Desktop, and starting it anew, on a Mac that is made of stand-ins."""

from __future__ import annotations

import os
import plistlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from shim.cli import app as command
from shim.cli import main
from shim.cli.background import Enabled
from shim.codex import launch
from shim.codex.desktop import DesktopError, find_app
from shim.daemon.files import Settings

OPEN = """#!/bin/sh
for word; do echo "$word" >> "$0.log"; done
[ -e "$0.fails" ] || exit 0
echo "Unable to find application" >&2
exit 1
"""


class Mac:
    def __init__(self, folder: Path) -> None:
        self.app = folder / "Applications" / "Codex.app"
        contents = self.app / "Contents"
        for part in ("MacOS", "Resources"):
            (contents / part).mkdir(parents=True)
        (contents / "Resources" / "app.asar").touch()
        (contents / "Info.plist").write_bytes(
            plistlib.dumps({"CFBundleIdentifier": "com.openai.codex"})
        )
        self.program = contents / "MacOS" / "Codex"
        self.program.symlink_to("/bin/sleep")
        self.tool = folder / "bin" / "open"
        self.tool.parent.mkdir()
        self.tool.write_text(OPEN)
        self.tool.chmod(0o755)

    def opened(self) -> list[str]:
        log = Path(f"{self.tool}.log")
        return log.read_text().splitlines() if log.exists() else []

    def run(self) -> subprocess.Popen[bytes]:
        # Once it is started, ps shows it by its path.
        return subprocess.Popen([self.program, "600"])


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mac]:
    made = Mac(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{made.tool.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CODEX_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    yield made


def test_a_folder_is_opened_as_codexs_own_command_does(
    mac: Mac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch.start(find_app(None))
    assert mac.opened() == ["-a", str(mac.app)]
    Path(f"{mac.tool}.log").unlink()
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "c"))
    launch.start(find_app(None), Path("/w/a b#1"))
    assert mac.opened() == [
        "--env", f"CODEX_HOME={tmp_path / 'c'}", "-a", str(mac.app),
        "codex://threads/new?path=%2Fw%2Fa+b%231",
    ]  # fmt: skip
    Path(f"{mac.tool}.fails").touch()
    with pytest.raises(DesktopError, match="Unable to find application"):
        launch.start(find_app(None))


def test_a_restart_ends_what_runs_and_starts_it(mac: Mac) -> None:
    running = mac.run()
    other = subprocess.Popen(["/bin/sleep", "600"])
    try:
        # Somebody has to take note of its end, as launchd does.
        threading.Thread(target=running.wait, daemon=True).start()
        assert launch.restart() == "Codex Desktop was restarted."
        assert running.wait(5) != 0 and other.poll() is None
        assert mac.opened() == ["-a", str(mac.app)]
    finally:
        for process in (running, other):
            process.kill()
            process.wait()


def test_what_does_not_run_is_not_started(mac: Mac) -> None:
    assert "does not run" in launch.restart() and mac.opened() == []


def test_one_that_does_not_end_is_left_alone(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "PATIENCE", 0.0)
    monkeypatch.setattr(launch, "signal", SimpleNamespace(SIGTERM=0))
    running = mac.run()
    try:
        assert "was not restarted" in launch.restart() and mac.opened() == []
    finally:
        running.kill()
        running.wait()


def test_there_is_no_app(mac: Mac) -> None:
    mac.app.rename(mac.app.with_name("Other.app"))
    assert "no Codex Desktop in /Applications" in launch.restart()


@pytest.fixture
def enabled(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A daemon that runs; what `enable` has changed is in the list."""
    changed = [True]

    def enable(model: None) -> Enabled:
        settings = Settings("policy.yaml", 8790)
        return Enabled(settings, Path("config.toml"), "demo", changed[0], ["a note"])

    monkeypatch.setattr(command, "enable", enable)
    return changed


def test_the_command(
    mac: Mac, enabled: list[bool], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["app", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "asks for demo through http://127.0.0.1:8790/v1" in out and "--restart" not in out
    assert "a note\n" in out
    assert mac.opened()[-1].startswith("codex://threads/new?path=")
    running = mac.run()
    try:
        assert main(["app"]) == 0
        assert "interpose app --restart" in capsys.readouterr().out
        enabled[0] = False
        assert main(["app"]) == 0
        assert "--restart" not in capsys.readouterr().out
        assert running.poll() is None
    finally:
        running.kill()
        running.wait()


@pytest.mark.parametrize("case", ["a file", "elsewhere", "no app"])
def test_what_cannot_be_is_said_before_anything_is_changed(
    case: str, mac: Mac, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the config is left alone")

    monkeypatch.setattr(command, "enable", never)
    words = ["app"]
    if case == "a file":
        words.append(str(mac.tool))
    elif case == "elsewhere":
        monkeypatch.setattr(sys, "platform", "linux")
    else:
        mac.app.rename(mac.app.with_name("Other.app"))
    assert main(words) == 1
    err = capsys.readouterr().err
    said = {"a file": "is no folder", "elsewhere": "interpose enable", "no app": "no Codex Desktop"}
    assert said[case] in err and err.count("\n") == 1 and "internal error" not in err
