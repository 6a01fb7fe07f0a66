"""`tools/setup` with pretended Pythons: which one it takes, and what it says when there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("sh", "cat", "dirname", "chmod", "mv", "mkdir", "cp", "rm")

# Answers `-c` (does it fit?), makes a .venv with a copy of itself, and notes what pip is asked for.
FAKE = """#!/bin/sh
case "$1 $2" in
    "-m venv") mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
    "-m pip") printf '%s\\n' "$*" >>"$LOG"; exit "${PIP_EXIT:-0}" ;;
    "-c "*) exit 0 ;;
esac
"""
BROKEN = "#!/bin/sh\necho 'pyenv: python3: command not found' >&2\nexit 127\n"


class Machine:
    """A checkout in a folder with a space in its name, and a PATH with only what setup needs."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        self.bin = folder / "bin"
        self.pyenv = folder / "pyenv"
        self.log = folder / "pip.log"
        self.bin.mkdir()
        for script in ("tools/setup", "deploy/install.sh"):
            (self.root / script).parent.mkdir(parents=True)
            shutil.copy(ROOT / script, self.root / script)
        (self.root / "requirements.lock").write_text("a==1\n")
        for tool in NEEDED:
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)

    def program(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def setup(self, **env: str) -> subprocess.CompletedProcess[str]:
        base = {"PATH": str(self.bin), "PYENV_ROOT": str(self.pyenv), "LOG": str(self.log)}
        return subprocess.run(
            [str(self.root / "tools" / "setup")],
            env={**base, **env}, cwd="/", capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def pip_calls(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.skipif(os.path.exists("/opt/homebrew/bin/python3"), reason="one is always found")
def test_without_a_python_it_says_so_in_one_sentence(machine: Machine) -> None:
    machine.program(machine.bin / "python3", BROKEN)
    done = machine.setup()
    assert done.returncode == 1
    assert done.stderr.startswith("setup: no Python >= 3.12 with venv found")
    assert done.stderr.count("\n") == 1 and not done.stdout


def test_a_shim_that_refuses_is_passed_over_for_a_version_of_pyenv(machine: Machine) -> None:
    machine.program(machine.bin / "python3", BROKEN)
    machine.program(machine.pyenv / "versions" / "3.13.1" / "bin" / "python3", FAKE)
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    assert (machine.root / ".venv" / "bin" / "python").exists()


def test_the_second_time_nothing_is_installed(machine: Machine) -> None:
    machine.program(machine.bin / "python3.12", FAKE)
    assert machine.setup().returncode == 0
    again = machine.setup()
    assert (again.returncode, again.stderr) == (0, "")
    assert machine.pip_calls() == 1
    (machine.root / "requirements.lock").write_text("a==2\n")
    assert machine.setup().returncode == 0
    assert machine.pip_calls() == 2


def test_an_installation_that_failed_is_tried_again(machine: Machine) -> None:
    machine.program(machine.bin / "python3.12", FAKE)
    failed = machine.setup(PIP_EXIT="1")
    assert failed.returncode == 1
    assert "setup: pip could not install requirements.lock" in failed.stderr
    assert machine.setup().returncode == 0


def test_the_launcher_runs_the_checkout_it_belongs_to(machine: Machine) -> None:
    machine.program(machine.bin / "python3.12", FAKE)
    assert machine.setup().returncode == 0
    launcher = machine.root / ".venv" / "bin" / "interpose"
    text = launcher.read_text()
    assert f'"{machine.root / ".venv" / "bin" / "python"}"' in text.splitlines()[1]
    # The text is Python as well as sh.
    compile(text, str(launcher), "exec")
