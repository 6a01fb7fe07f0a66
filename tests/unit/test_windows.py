"""Windows' rules on another system: what does not exist there, what works otherwise, what we do.

docs/windows.md says what was not tried on Windows itself.
"""

from __future__ import annotations

import ast
import ctypes
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shim import system
from shim.cli import chain, run, serve
from shim.cli.chain import NOWHERE, Options
from shim.codex import find
from shim.record import processes
from tests.unit.test_style import ROOT, SOURCE, checked, name

#: It runs on POSIX only; on Windows only its numbers are taken.
KEEPER = "shim/engines/agents/keeper.py"
#: Calls that Windows has but means otherwise, or has not and no type checker knows: where they
#: stand, and why that is right.
KNOWN = {
    ("addons/link.py", "pass_fds"): "_piped, which CALLS_BACK keeps Windows out of",
    ("addons/link.py", "os.pipe"): "stdin of a child; the other in _piped",
    ("addons/link.py", "os.set_blocking"): "in _piped",
    ("addons/recorder.py", "select.select"): "on Windows it gets a socket",
    ("shim/engines/agents/process.py", "os.pipe"): "on Windows there is no keeper to hold the end",
    ("shim/engines/agents/keeper.py", "os.kill"): "never started on Windows",
    ("shim/engines/agents/keeper.py", "os.pipe"): "never started on Windows",
    ("shim/engines/agents/keeper.py", "os.set_blocking"): "never started on Windows",
    ("shim/engines/agents/keeper.py", "select.select"): "never started on Windows",
    ("shim/cli/serve.py", "os.execve"): "Windows has left before",
    ("shim/cli/run.py", "os.kill"): "of what `ps` lists, which Windows has not",
    ("shim/cli/run.py", "ps"): "none there: Codex leaves no daemon behind on Windows",
    ("shim/codex/desktop.py", "ps"): "macOS only",
    ("shim/codex/launch.py", "os.kill"): "macOS only",
    ("shim/repair/codex.py", "bash"): "what a model has asked for, run by Codex",
    ("shim/daemon/control.py", "os.kill"): "ends it, which is meant; never with signal 0",
    ("shim/daemon/control.py", "ps"): "Windows asks tasklist",
    ("shim/record/processes.py", "os.kill"): "Windows has left before",
    ("shim/system.py", "sh"): "Windows has left before",
    ("shim/system.py", "lsof"): "Windows has left before",
}
CALLS = ("os.kill", "os.fork", "os.pipe", "os.set_blocking", "select.select", "select.poll")
METHODS = ("add_reader", "add_writer", "add_signal_handler", "connect_read_pipe")
WORDS = ("pass_fds", "preexec_fn")
PROGRAMS = ("sh", "bash", "ps", "kill", "lsof", "env")
#: Without O_BINARY Windows changes the line ends of what is read or written by such a descriptor;
#: an object of `open` or `os.fdopen` sees to that itself.
DESCRIPTORS = {
    "addons/flowfile.py": "opened",
    "shim/cli/__init__.py": "os.devnull",
    "shim/cli/policy.py": "opened",
    "shim/daemon/control.py": "opened",
    "shim/daemon/files.py": "opened",
    "shim/doctor/finding.py": "opened",
    "shim/engines/agents/keeper.py": "os.devnull",
    "shim/engines/agents/images.py": "opened",
    "shim/lock.py": "never read",
    "shim/record/files.py": "O_BINARY",
    "shim/record/journal.py": "closed at once",
    "shim/state/store.py": "closed at once",
}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def used(tree: ast.AST) -> Iterator[str]:
    """What a file has of all that, by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            if called in CALLS or called.startswith("os.exec") or called == "os.open":
                yield called
            if called.rpartition(".")[2] in METHODS:
                yield called.rpartition(".")[2]
            yield from (word.arg for word in node.keywords if word.arg in WORDS)
            first = node.args[0] if node.args else None
            words = first.elts[:1] if isinstance(first, ast.List) else []
            words += node.args[:1] if called == "_said" else []
            for word in words:
                if isinstance(word, ast.Constant) and word.value in PROGRAMS:
                    yield str(word.value)
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.List):
            yield from (
                str(w.value)
                for w in node.value.elts[:1]
                if isinstance(w, ast.Constant) and w.value in PROGRAMS
            )


@pytest.mark.slow
def test_every_name_exists_there() -> None:
    """mypy knows which names of the standard library a system has not."""
    said = checked("mypy", "--platform", "win32", "--cache-dir", ".mypy_cache/win32")
    errors = [line for line in said.splitlines() if ": error: " in line]
    assert [line for line in errors if line.partition(":")[0] != KEEPER] == []
    # There it is imported, so what it does while that is done must exist.
    missing = set(re.findall(r'no attribute "(\w+)"', said))
    tree = ast.parse((ROOT / KEEPER).read_text("utf-8"))
    inside = {
        id(node)
        for part in tree.body
        if isinstance(part, ast.FunctionDef)
        for node in ast.walk(part)
    }
    names = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and id(node) not in inside
    }
    assert missing and not names & missing


def test_what_means_something_else_there_is_known() -> None:
    found = {
        (name(path), what) for path in SOURCE for what in used(ast.parse(path.read_text("utf-8")))
    }
    assert {one for one in found if one[1] != "os.open"} == set(KNOWN)
    assert {file for file, what in found if what == "os.open"} == set(DESCRIPTORS)
    told = [file for file, why in DESCRIPTORS.items() if why == "O_BINARY"]
    assert told and all('"O_BINARY"' in (ROOT / file).read_text("utf-8") for file in told)


@pytest.mark.parametrize(
    "code",
    [
        "os.kill(1, 0)",
        "loop.add_writer(f)",
        "Popen(x, pass_fds=(1,))",
        "run(['sh', '-c', x])",
        "os.execv(a, b)",
    ],
)
def test_it_would_be_found(code: str) -> None:
    assert list(used(ast.parse(code)))


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A Windows by its name; what is started there is only noted."""
    started: list[Any] = []
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(system.subprocess, "run", lambda words, **how: started.append(words))
    monkeypatch.delattr(system.os, "killpg")
    monkeypatch.delattr(signal, "SIGKILL")
    monkeypatch.delattr(signal, "SIGHUP")
    return started


def test_a_process_goes_with_all_that_it_has_started(windows: list[Any]) -> None:
    system.end_group(4711, gently=True)
    system.end_group(4711)
    assert windows == [["taskkill", "/T", "/F", "/PID", "4711"]] * 2


def test_a_command_of_the_users_is_for_its_own_shell(
    windows: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMSPEC", r"C:\Windows\system32\cmd.exe")
    assert system.shell('py -m "a b"') == r'C:\Windows\system32\cmd.exe /d /s /c "py -m "a b""'


def test_a_file_that_is_just_read_is_replaced_a_moment_later(
    windows: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tries = []

    def refuses(fresh: object, path: object) -> None:
        tries.append(fresh)
        if len(tries) < 3:
            raise PermissionError(13, "in use")

    monkeypatch.setattr(system, "_PAUSE", 0)
    monkeypatch.setattr(system.os, "replace", refuses)
    system.replace(tmp_path / "a", tmp_path / "b")
    assert len(tries) == 3
    monkeypatch.setattr(system, "_PATIENCE", -1)
    tries.clear()
    with pytest.raises(PermissionError):
        system.replace(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(system, "_PATIENCE", 2)
    tries.clear()
    with pytest.raises(PermissionError):
        system.replace(tmp_path / "a", tmp_path / "b")
    assert len(tries) == 1


class Kernel:
    """The calls of kernel32 for one process: when it began, and whether it has ended."""

    def __init__(self, pid: int, began: int, ended: bool = False) -> None:
        self.pid, self.began, self.ended = pid, began, ended
        self.open = 0
        self.OpenProcess = self._open_process

    def _open_process(self, wanted: int, inherited: bool, pid: int) -> int:
        assert wanted == 0x101000
        self.open += pid == self.pid
        return 99 if pid == self.pid else 0

    def GetProcessTimes(self, handle: ctypes.c_void_p, *times: Any) -> int:
        assert handle.value == 99 and len(times) == 4
        times[0]._obj.value = self.began
        return 1

    def WaitForSingleObject(self, handle: ctypes.c_void_p, patience: int) -> int:
        return 0 if self.ended else 258

    def CloseHandle(self, handle: ctypes.c_void_p) -> int:
        self.open -= 1
        return 1


def test_to_ask_whether_a_process_runs_does_not_end_it(
    windows: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> None:
        raise AssertionError("os.kill ends it there")

    class Wraps:
        """A function of a library, on which a result type can be set."""

        def __init__(self, call: Any) -> None:
            self.call = call

        def __call__(self, *args: Any) -> Any:
            return self.call(*args)

    kernel = Kernel(7, 133_000_000)
    kernel.OpenProcess = Wraps(kernel._open_process)  # type: ignore[assignment]
    monkeypatch.setattr(processes.os, "kill", ended)
    monkeypatch.setattr(ctypes, "WinDLL", lambda name: kernel, raising=False)
    who = processes.describe([7])
    assert who["pids"] == [[7, "133000000"]]
    assert not processes.gone(who, 0, 0)
    kernel.began = 134_000_000  # the number has come again
    assert processes.gone(who, 0, 0)
    kernel.began, kernel.ended = 133_000_000, True
    assert processes.gone(who, 0, 0)
    kernel.pid = 8
    assert processes.gone(who, 0, 0)
    assert kernel.open == 0


def test_a_session_hears_ctrl_c_as_its_group_can(
    windows: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    how: dict[str, Any] = {}

    class Codex:
        pid = 4711

        def __init__(self, words: list[str], **more: Any) -> None:
            how.update(more)

        def wait(self, patience: float | None = None) -> int:
            if not sent:
                signal.raise_signal(signal.SIGINT)
                raise subprocess.TimeoutExpired("codex", 0.5)
            return 5

        def poll(self) -> int:
            return 5

        def send_signal(self, number: int) -> None:
            sent.append(number)

    monkeypatch.setattr(run, "_BREAK", 1)
    monkeypatch.setattr(run.subprocess, "Popen", Codex)
    monkeypatch.setattr(run.os, "isatty", lambda fd: False)
    assert run.session(["codex"], {}) == 5
    assert sent == [1] and how["creationflags"] == 0x200 and "process_group" not in how
    how.clear()
    monkeypatch.setattr(run.os, "isatty", lambda fd: True)
    assert run.session(["codex"], {}) == 5
    assert not how.keys() & {"creationflags", "process_group"}


def test_a_chain_is_asked_to_end_by_its_stdin(windows: list[Any]) -> None:
    told: list[str] = []

    def wait(patience: float | None = None) -> None:
        told.append("waited")
        if patience:
            raise subprocess.TimeoutExpired("chain", patience)

    stdin = SimpleNamespace(close=lambda: told.append("closed"))
    process = SimpleNamespace(pid=4711, stdin=stdin, wait=wait, terminate=None)
    chain._stop(process)  # type: ignore[arg-type]
    assert told[:2] == ["closed", "waited"]
    assert windows == [["taskkill", "/T", "/F", "/PID", "4711"]]


def test_serve_stays_until_the_proxy_has_ended(
    windows: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(*_: object) -> None:
        raise AssertionError("the shell would go on beside it")

    called: list[list[str]] = []
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(serve, "options", lambda args: Options(None, NOWHERE, None, None, ""))
    monkeypatch.setattr(serve.os, "execve", gone)
    monkeypatch.setattr(serve.subprocess, "call", lambda words, env: called.append(words) or 3)
    try:
        assert serve.run(SimpleNamespace(port=0, web=False, rest=["-q"])) == 3  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGINT, before)
    assert called[0][-1] == "-q" and "http://127.0.0.1:0" in capsys.readouterr().out


def test_codex_of_npm_is_the_script_that_can_be_started(windows: list[Any], tmp_path: Path) -> None:
    folder = tmp_path / "node_modules" / ".bin"
    folder.mkdir(parents=True)
    for file in ("codex", "codex.cmd"):
        (folder / file).touch(0o755)
    assert find._client(tmp_path) == folder / "codex.cmd"
