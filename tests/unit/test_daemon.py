"""The daemon's files, lock and units, and how a process is started and told on each system."""

from __future__ import annotations

import json
import os
import plistlib
import shutil
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path, PurePosixPath

import pytest

from shim import lock
from shim.cli import main
from shim.daemon import control, env, files, units
from shim.daemon.files import DaemonError, Files, Settings, health, taken
from shim.lock import Busy, Lock

HOLD = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from shim.lock import Lock
Lock(Path(sys.argv[2])).take()
print("taken", flush=True); sys.stdin.read()
"""
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setenv("INTERPOSE_HOME", str(tmp_path / "state"))
    return Files()


def test_a_lock_ends_with_its_holder_however_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    assert not Lock(path).held()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(ROOT), str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout and holder.stdout.readline() == b"taken\n"
    assert Lock(path).held() and Lock(path).held()
    with pytest.raises(Busy):
        Lock(path).take()
    with pytest.raises(Busy):
        Lock(path).take(0.05)
    holder.kill()
    holder.communicate()
    assert not Lock(path).held()
    mine = Lock(path)
    mine.take(None)
    assert Lock(path).held()
    mine.release()
    assert not Lock(path).held()


def test_to_ask_for_a_lock_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    made = Lock(path)
    made.take()
    made.release()
    asked = os.open(path, os.O_RDWR)
    assert lock._free(asked)  # and holds it shared, until closed
    assert not Lock(path).held()
    os.close(asked)


def test_what_is_kept_is_for_its_user(kept: Files) -> None:
    key = kept.key()
    assert len(key) > 30 and kept.key() == key == Files().key()
    assert kept.settings() is None
    kept.keep(Settings("/p.yaml", 8791, "/r"))
    assert Files().settings() == Settings("/p.yaml", 8791, "/r")
    # As an older version has kept it.
    (kept.folder / "settings.json").write_text('{"policy": "/p.yaml", "port": 8791}')
    assert kept.settings() == Settings("/p.yaml", 8791, "", "")
    for path in kept.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.folder.stat().st_mode) == 0o700
    for broken in ("", "[]", "{}", '{"port": 1}', "\0"):
        (kept.folder / "settings.json").write_text(broken)
        assert kept.settings() is None
    (kept.folder / "mine").mkdir()
    kept.remove()
    assert [path.name for path in kept.folder.iterdir()] == ["mine"]


def test_who_signed_counts_only_while_the_lock_is_held(kept: Files) -> None:
    kept.make()
    kept.sign(Settings("/p.yaml", 8791))
    assert kept.who() == {} and not kept.status().running
    assert control.stop(kept) is False
    mine = Lock(kept.folder / "daemon.lock")
    mine.take()
    assert kept.who()["pid"] == os.getpid() == kept.status().pid
    assert (kept.status().port, kept.status().policy, kept.status().answers) == (
        8791,
        "/p.yaml",
        None,
    )
    # It lives, but is no daemon by its command line: this is the test runner.
    with pytest.raises(DaemonError, match="left alone"):
        control.stop(kept)
    mine.release()


def test_health_of_what_is_no_chain() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert taken(port)
        assert health(port, 0.05) is None  # says nothing

        def answer(body: bytes) -> None:
            connection = server.accept()[0]
            while connection.recv(65536) and not connection.send(b"HTTP/1.1 200 OK\r\n\r\n" + body):
                pass
            connection.close()

        server.accept()[0].close()
        for body, status in ((b"<html>", None), (b"[]", None), (b'{"status": "ok"}', "ok")):
            thread = threading.Thread(target=answer, args=(body,))
            thread.start()
            assert health(port) == status
            thread.join()
    assert health(port) is None and not taken(port)


def test_the_users_own_variables(kept: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.make()
    path, shell = kept.environment, {"A_KEY": "of the shell", "C_KEY": ""}
    assert env.with_file(path, shell) == {"A_KEY": "of the shell"}
    path.write_text("# keys\n\nA_KEY=x\nB_KEY='y=z'\nC_KEY=c\n")
    assert env.with_file(path, shell) == {"A_KEY": "of the shell", "B_KEY": "y=z", "C_KEY": "c"}
    for wrong in ("export C=1", "nonsense"):
        path.write_text(f"\n{wrong}\n")
        with pytest.raises(DaemonError, match=rf"{path}:2: "):
            env.read(path)


def test_a_kept_variable_goes_again_and_the_users_lines_stay(kept: Files) -> None:
    kept.make()
    path = kept.environment
    assert env.keep(path, {}) == [] and not path.exists() and not env.drop(path)
    assert env.keep(path, {"A_KEY": "a"}) == ["A_KEY"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert env.drop(path) and not path.exists()
    mine = "# mine\nB_KEY='b'\n"
    path.write_text(mine)
    # The user's own line goes before; what is no line is not kept.
    wanted = {"A_KEY": "a", "B_KEY": "other", "C_KEY": "two\nlines", "D_KEY": "'quoted'"}
    assert env.keep(path, wanted) == ["A_KEY"] and env.keep(path, wanted) == []
    assert env.read(path) == {"A_KEY": "a", "B_KEY": "b"}
    assert env.keep(path, {"A_KEY": "anew"}) == ["A_KEY"]
    with path.open("a") as file:
        file.write("E_KEY=e\n")
    assert env.read(path) == {"A_KEY": "anew", "B_KEY": "b", "E_KEY": "e"}
    assert env.drop(path) and path.read_text() == f"{mine}E_KEY=e\n"
    # Half a block: nobody knows whose lines follow.
    env.keep(path, {"A_KEY": "a"})
    path.write_text(path.read_text().replace("# <<< interpose enable\n", "F_KEY=f\n"))
    env.drop(path)
    assert env.read(path) == {"A_KEY": "a", "B_KEY": "b", "E_KEY": "e", "F_KEY": "f"}


def test_how_a_process_is_detached() -> None:
    assert control.detached("linux") == control.detached("darwin") == {"start_new_session": True}
    flags = control.detached("win32")["creationflags"]
    # CREATE_NEW_PROCESS_GROUP and CREATE_NO_WINDOW.
    assert flags == 0x200 | 0x08000000


def test_a_daemon_is_started_as_windows_wants_it(
    kept: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = {}
    monkeypatch.setattr(control.sys, "platform", "win32")
    monkeypatch.setattr(
        control.subprocess, "Popen", lambda words, **how: started.update(how, words=words)
    )
    monkeypatch.setenv("NO_PROXY", "corp.example")
    kept.make()
    control._spawn(kept)
    assert started["words"][-2:] == ["start", "--foreground"]
    assert "start_new_session" not in started and started["creationflags"]
    assert started["stdin"] == subprocess.DEVNULL and started["cwd"] == kept.folder
    assert started["env"]["INTERPOSE_HOME"] == str(kept.folder)
    assert started["env"]["NO_PROXY"] == "corp.example,127.0.0.1,localhost"


@pytest.mark.parametrize(
    ("listed", "ours"),
    [
        ('"python.exe","4711","Console","1","52.120 K"\r\n', True),
        ('"interpose.exe","4711","Console","1","8 K"\r\n', True),
        ('"explorer.exe","4711","Console","1","52.120 K"\r\n', False),
        ("INFO: No tasks are running which match the specified criteria.\r\n", False),
        ("", False),
    ],
)
def test_a_process_of_windows_is_told_by_its_name(
    listed: str, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(control.sys, "platform", "win32")
    monkeypatch.setattr(control, "_said", lambda *words: asked.append(words) or listed)
    assert control._ours(4711) is ours
    assert asked == [("tasklist", "/FI", "PID eq 4711", "/FO", "CSV", "/NH")]


def test_a_windows_without_its_signals(kept: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []
    monkeypatch.delattr(control.signal, "SIGKILL")
    monkeypatch.setattr(control, "_ours", lambda pid: True)
    monkeypatch.setattr(control.os, "kill", lambda pid, number: ended.append((pid, number)))
    who = iter([{"pid": 7}, {"pid": 7}, {}])
    monkeypatch.setattr(Files, "who", lambda self: next(who))
    assert control.stop(kept) is True
    assert ended == [(7, control.signal.SIGTERM)]


def test_the_command_line_does_without_sighup(
    kept: Files, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("signal.SIGHUP")
    monkeypatch.setenv("CODEX_HOME", str(kept.folder / "codex"))
    assert main(["status", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["daemon"]["running"] is False


def test_a_unit_of_systemd(tmp_path: Path) -> None:
    command = ["/opt/my venv/bin/interpose"]
    text = units.text("linux", command, "/home/me/100%").decode()
    assert 'ExecStart="/opt/my venv/bin/interpose" "start" "--foreground" "--wait"\n' in text
    assert 'Environment="INTERPOSE_HOME=/home/me/100%%"\n' in text
    assert "Restart=on-failure\n" in text and "WantedBy=default.target\n" in text
    assert units.place({"HOME": "/h"}, "linux") == PurePosixPath(
        "/h/.config/systemd/user/interpose.service"
    )
    analyze = shutil.which("systemd-analyze")
    if analyze:
        path = tmp_path / "interpose.service"
        path.write_bytes(units.text("linux", [sys.executable], "/home/me/100%"))
        done = subprocess.run([analyze, "verify", str(path)], capture_output=True, text=True)
        assert str(path) not in done.stderr and "interpose.service" not in done.stderr, done.stderr


def test_a_unit_of_launchd() -> None:
    made = plistlib.loads(units.text("darwin", ["/opt/interpose"], "/Users/me/a & b"))
    assert made["ProgramArguments"] == ["/opt/interpose", "start", "--foreground", "--wait"]
    assert made["KeepAlive"] == {"SuccessfulExit": False} and made["RunAtLoad"] is True
    assert made["EnvironmentVariables"] == {"INTERPOSE_HOME": "/Users/me/a & b"}
    assert units.place({"HOME": "/Users/me"}, "darwin") == PurePosixPath(
        "/Users/me/Library/LaunchAgents/interpose.daemon.plist"
    )
    assert units.place({"USERPROFILE": r"C:\me"}, "win32") is None


@pytest.fixture
def systemctl(tmp_path: Path, kept: Files, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `systemctl` that notes what it is told, and fails at what stands in `fails`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "systemctl"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/told\n'
        f'case "$*" in *"$(cat {tmp_path}/fails)"*) echo "no bus" >&2; exit 1;; esac\n'
    )
    script.chmod(0o755)
    (tmp_path / "fails").write_text("nothing of this kind")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(units.sys, "platform", "linux")
    return tmp_path


def test_the_service_comes_and_goes(systemctl: Path) -> None:
    path = units.install()
    assert path == systemctl / "home" / ".config" / "systemd" / "user" / "interpose.service"
    assert str(files.state_folder()) in path.read_text()
    assert units.remove() is True and not path.exists() and units.remove() is False
    assert (systemctl / "told").read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable --now interpose.service",
        "--user disable --now interpose.service",
        "--user daemon-reload",
    ]


def test_a_service_that_does_not_start_is_taken_back(systemctl: Path) -> None:
    (systemctl / "fails").write_text("enable --now")
    with pytest.raises(DaemonError, match=r"interpose.service` failed: no bus; .*taken back"):
        units.install()
    assert not list((systemctl / "home").rglob("*.service"))
