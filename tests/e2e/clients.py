"""The real clients: pinned npm packages in `.codex/`, and one bounded run of Codex.

Nothing outside a throw-away folder is read or written by the client, and its background calls
(plugins, metrics) are sent to a dead loopback proxy instead of the internet.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from shim.codex.find import install
from shim.codex.home import write_home
from shim.policy.schema import Policy

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / ".codex"
CODEX = "0.169.0"
OLD_CODEX = "0.133.0"
AIMOCK = "1.43.0"
ASAR = "3.4.1"
KEY_NAME = "INTERPOSE_TEST_KEY"
KEY = "sk-client-0000000000000000"


class ClientMissing(RuntimeError):
    """The real client cannot be had here; the text says what to install."""


@cache
def aimock_cli() -> Path:
    """aimock's `llmock` command."""
    return _npm("@copilotkit/aimock", AIMOCK, "llmock")


@cache
def asar_cli() -> Path:
    """The `asar` command of Electron's own library; its modules lie two folders up."""
    return _npm("@electron/asar", ASAR, "asar")


def _npm(package: str, version: str, command: str) -> Path:
    """A command of an npm package, fetched into `.codex/` when absent."""
    folder = STORE / f"{package.rpartition('/')[2]}-{version}"
    path = folder / "node_modules" / ".bin" / command
    if path.exists():
        return path
    if not shutil.which("npm"):
        raise ClientMissing(
            f"{package}@{version} is needed and npm is not on PATH: install Node.js 20 or newer"
        )
    STORE.mkdir(exist_ok=True)
    with (STORE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=STORE))
        try:
            install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(fresh)]
            done = subprocess.run(
                [*install, f"{package}@{version}"], capture_output=True, text=True, timeout=300
            )
            if done.returncode:
                raise ClientMissing(f"npm could not install {package}@{version}: {done.stderr}")
            shutil.rmtree(folder, ignore_errors=True)
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return path


@cache
def codex_binary(version: str = CODEX) -> Path:
    """Codex of exactly this version: the one on PATH, else the pinned npm package."""
    found = shutil.which("codex")
    if found:
        shown = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=30)
        if shown.stdout.split()[-1:] == [version]:
            return Path(found)
    return install(version)


@dataclass
class CodexRun:
    """What one `codex exec --json` did. `events` are its JSONL objects, `seconds` wall-clock."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def items(self) -> list[dict[str, Any]]:
        """The completed items, in order: command_execution, file_change, agent_message …"""
        done = [event["item"] for event in self.events if event["type"] == "item.completed"]
        return [item for item in done if isinstance(item, dict)]

    @property
    def final_text(self) -> str:
        """The last message of the model, or ''."""
        texts = [item["text"] for item in self.items if item["type"] == "agent_message"]
        return texts[-1] if texts else ""

    @property
    def warnings(self) -> list[str]:
        return [item["message"] for item in self.items if item["type"] == "error"]

    @property
    def failure(self) -> str:
        """The text with which the turn failed, or ''."""
        failed = [event for event in self.events if event["type"] == "turn.failed"]
        return str(failed[-1]["error"]["message"]) if failed else ""

    @property
    def visible(self) -> str:
        """Every error text that the user is shown."""
        errors = [event["message"] for event in self.events if event["type"] == "error"]
        return "\n".join([*errors, *self.warnings, self.failure])

    def explain(self) -> str:
        """Everything, for the message of a failed assertion."""
        return f"exit {self.exit_code}, {self.seconds:.1f} s\n{self.stdout}\n{self.stderr}"


def client_env(folder: Path, key: str = KEY) -> dict[str, str]:
    """The environment of a client that lives in `folder` and reaches nothing off the loopback."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CODEX_HOME": str(folder / "codex-home"),
        KEY_NAME: key,
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
        "LANG": "C.UTF-8",
    }


def run_codex(
    base_url: str,
    prompt: str,
    workdir: Path,
    *,
    version: str = CODEX,
    model: str = "test-model",
    key: str = KEY,
    timeout: float = 60,
    config: Mapping[str, str] | None = None,
    policy: Policy | None = None,
    home: Path | None = None,
) -> CodexRun:
    """Run `codex exec` in `workdir` against `base_url` (ending in /v1).

    `config` holds extra `-c key=value` pairs, `policy` the models of its catalog; a `home` is
    kept, with `codex-home` in it. After `timeout` seconds the whole process group is killed and
    the exit code is that of the signal (negative).
    """
    workdir.mkdir(parents=True, exist_ok=True)
    kept, home = home, home or Path(tempfile.mkdtemp(prefix="interpose-home-"))
    write_home(home / "codex-home", base_url, policy or Policy(), model, env_key=KEY_NAME)
    command = [str(codex_binary(version)), "exec", "--json", "--skip-git-repo-check"]
    command += ["--dangerously-bypass-approvals-and-sandbox", "-C", str(workdir)]
    for name, value in (config or {}).items():
        command += ["-c", f"{name}={value}"]
    started = time.monotonic()
    process = subprocess.Popen(
        [*command, prompt],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=client_env(home, key),
        cwd=workdir,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        stderr += f"\nkilled after {timeout} s"
    finally:
        if not kept:
            shutil.rmtree(home, ignore_errors=True)
    seconds = time.monotonic() - started
    events = [json.loads(line) for line in stdout.split("\n") if line.startswith("{")]
    return CodexRun(process.returncode, stdout, stderr, seconds, events)
