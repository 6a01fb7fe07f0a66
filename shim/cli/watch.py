"""One `codex exec --json`, watched: its events, its end in time, and the sandbox it can have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..system import end_group, grouped
from . import UserError
from .tour_view import View


def watch(command: list[str], env: Mapping[str, str], view: View, timeout: float) -> int:
    """Run Codex and show its events; its exit code, or that of the signal that ended it.

    Never 0 when it took longer than ``timeout``. Why it failed, if it did, is in ``view.failure``.
    """
    with tempfile.TemporaryFile("w+") as errors, group(command, env, stderr=errors) as process:
        late = threading.Event()

        def end() -> None:
            late.set()
            _end(process)

        timer = threading.Timer(timeout, end)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict):
                    view.event(event)
            code = process.wait()
        finally:
            timer.cancel()
        if late.is_set():
            view.failure = f"the session was ended after {timeout:.0f} s"
            return code or 1
        if code and not view.failure:
            errors.seek(0)
            said = errors.read().strip().splitlines()
            view.failure = said[-1] if said else f"codex ended with exit code {code}"
        return code


@contextmanager
def group(
    command: list[str] | str,
    env: Mapping[str, str],
    *,
    stdout: Any = subprocess.PIPE,
    stderr: Any = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A command in a process group of its own, which is gone at the end whatever happens."""
    process = subprocess.Popen(
        command,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        errors="replace",
        **grouped(sys.platform),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            _end(process)
        process.wait()
        if process.stdout:
            process.stdout.close()


def _end(process: subprocess.Popen[str]) -> None:
    end_group(process.pid, gently=True)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        end_group(process.pid)


def sandbox_mode(client: Path, env: Mapping[str, str], trusted: bool, instead: str) -> str:
    """The sandbox mode: restricted where Codex can; without, only what runs known commands may.

    ``instead`` is the other way out that the user is told of. UserError when there is none.
    """
    probe = subprocess.run(
        [str(client), "sandbox", "--", "true"],
        env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    if probe.returncode == 0:
        return "workspace-write"
    if trusted or os.environ.get("UNSANDBOXED"):
        return "danger-full-access"
    raise UserError(
        "Codex's sandbox does not work on this machine, so the model's commands would run"
        f" unprotected; UNSANDBOXED=1 allows that, {instead}"
    )


def version_of(client: Path, env: Mapping[str, str]) -> str:
    """What the client says of its version; UserError when it does not run."""
    done = subprocess.run(
        [str(client), "--version"],
        env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise UserError(f"{client} does not run: {(done.stderr or done.stdout).strip()[-200:]}")
    return done.stdout.strip()
