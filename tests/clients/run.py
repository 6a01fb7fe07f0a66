"""One bounded run of each client, in a throw-away home that reaches nothing off the loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.installed import aider, claude_code, opencode
from tests.clients.page import opencode_config, shell
from tests.clients.work import PROMPT, TEST

#: OpenCode's package per protocol.
OPENCODE_PACKAGES = {
    "chat": "@ai-sdk/openai-compatible",
    "responses": "@ai-sdk/openai",
    "messages": "@ai-sdk/anthropic",
}


@dataclass
class Run:
    """What a client did: exit code, output, wall-clock seconds."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float

    def explain(self) -> str:
        """Everything, for the message of a failed assertion."""
        return f"exit {self.exit_code}, {self.seconds:.1f} s\n{self.stdout}\n{self.stderr}"

    def events(self) -> list[dict[str, Any]]:
        """The output as JSON objects, one a line."""
        return [json.loads(line) for line in self.stdout.splitlines() if line.startswith("{")]


def claude_code_run(
    origin: str, project: Path, *options: str, home: Path | None = None, timeout: float = 120
) -> Run:
    """`claude -p`; `origin` is the base URL without /v1. A `home` is kept, for `--continue`."""
    env, (_, *words) = shell("Claude Code", origin)
    env |= {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_TELEMETRY": "1"}
    # It refuses to work without questions as root unless it is told that this is a sandbox.
    env["IS_SANDBOX"] = "1"
    command = [str(claude_code()), *words, "-p", PROMPT, "--output-format", "json"]
    command += ["--dangerously-skip-permissions", *options]
    return _run(command, env, project, timeout, home)


def opencode_run(
    origin: str, protocol: str, project: Path, *, reasoning: bool = False, timeout: float = 120
) -> Run:
    """`opencode run`, asking in `protocol`; `reasoning` tells it that the model thinks."""
    config = opencode_config(OPENCODE_PACKAGES[protocol], origin)
    config |= {"autoupdate": False, "share": "disabled"}
    if reasoning:
        config["provider"]["interpose"]["models"]["the-model"]["reasoning"] = True
    env = {
        "OPENCODE_CONFIG_CONTENT": json.dumps(config),
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    }
    return _run([str(opencode()), "run", "--format", "json", PROMPT], env, project, timeout)


def aider_run(
    origin: str, protocol: str, project: Path, *, stream: bool, timeout: float = 120
) -> Run:
    """`aider --message`, asking in `protocol`, with its own test loop; `origin` is without /v1."""
    env, (_, *words) = shell("Aider", origin, ["chat", "messages"].index(protocol))
    env["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    quiet = ["analytics", "check-update", "show-release-notes", "show-model-warnings", "gitignore"]
    quiet += ["pretty", "detect-urls"]
    command = [str(aider()), *words, "--yes-always"]
    command += ["--stream" if stream else "--no-stream", *(f"--no-{name}" for name in quiet)]
    command += ["--auto-test", "--test-cmd", TEST, "--message", PROMPT, "prices.py"]
    return _run(command, env, project, timeout)


def _run(
    command: Sequence[str],
    env: Mapping[str, str],
    project: Path,
    timeout: float,
    kept_home: Path | None = None,
) -> Run:
    """Run to the end, or kill the whole process group after `timeout` seconds."""
    home = kept_home or Path(tempfile.mkdtemp(prefix="interpose-home-"))
    dead = "http://127.0.0.1:9"
    base = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "HTTP_PROXY": dead,
        "HTTPS_PROXY": dead,
        "NO_PROXY": "127.0.0.1,localhost",
        "GIT_CONFIG_NOSYSTEM": "1",
        # Two edits in a second give a file the same size and time: Python would run the first one.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**base, **env},
        cwd=project,
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
        if not kept_home:
            shutil.rmtree(home, ignore_errors=True)
    return Run(process.returncode, stdout, stderr, time.monotonic() - started)
