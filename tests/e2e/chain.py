"""The chain as people start it: a real mitmdump or mitmweb with addons/main.py in a process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "addons" / "main.py"
NOWHERE = "http://127.0.0.1:9"


class ChainError(AssertionError):
    """The chain did not come up; the text holds its output."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def chain_env(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the chain: this one, without proxies and without a policy."""
    drop = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "interpose_policy"}
    kept = {name: value for name, value in os.environ.items() if name.lower() not in drop}
    return {**kept, "PYTHONUNBUFFERED": "1", **(env or {})}


def chain_command(
    port: int,
    mode: str,
    options: Mapping[str, str] | None = None,
    tool: str = "mitmdump",
    listen_host: str | None = "127.0.0.1",
) -> list[str]:
    """The command line. `tool` is mitmdump or mitmweb, of the interpreter that runs the tests."""
    binary = Path(sys.executable).parent / tool
    command = [str(binary), "-s", str(MAIN), "--mode", mode, "--listen-port", str(port)]
    if listen_host:
        command += ["--listen-host", listen_host]
    if tool == "mitmweb":
        command += ["--no-web-open-browser", "--web-port", str(free_port())]
    for name, value in (options or {}).items():
        command += ["--set", f"{name}={value}"]
    return command


class Chain:
    """A running chain; a context manager. `url` is what a client takes as base URL (…/v1).

    The process runs in a folder of its own, away from the checkout. Recordings go to
    `record_dir` unless `options` says otherwise; the output is in `log()`.
    """

    def __init__(
        self,
        upstream: str = NOWHERE,
        *,
        policy: str | Path | None = None,
        options: Mapping[str, str] | None = None,
        keys: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        tool: str = "mitmdump",
        listen_host: str | None = "127.0.0.1",
        mode: str = "",
        port: int = 0,
        inside: Sequence[str] = (),
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="interpose-chain-"))
        self.record_dir = self.folder / "flows"
        self.policy_file = self.folder / "policy.yaml"
        self.port = port or free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/v1"
        chosen = {"record_dir": str(self.record_dir), **(options or {})}
        # mitmproxy's own state would otherwise be made in the user's home.
        chosen.setdefault("confdir", str(self.folder / "conf"))
        if isinstance(policy, Path):
            chosen["policy"] = str(policy)
        elif policy is not None:
            self.policy_file.write_text(policy)
            chosen["policy"] = str(self.policy_file)
        mode = mode or f"reverse:{upstream}"
        #: What the chain is started by, such as in a container; it hears of signals, too.
        self._inside = bool(inside)
        self._command = [*inside, *chain_command(self.port, mode, chosen, tool, listen_host)]
        web = "--web-port" in self._command
        #: Where mitmweb shows its own pages.
        self.web_port = int(self._command[self._command.index("--web-port") + 1]) if web else 0
        for key in keys:
            self._command += ["--set", f"client_keys={key}"]
        self._env = {"INTERPOSE_HOME": str(self.folder / "state"), **chain_env(env)}
        self._log = self.folder / "output.txt"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_healthy()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """What the process has printed so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def health(self) -> dict[str, Any]:
        answer = httpx.get(f"{self.origin}/health", timeout=5, trust_env=False)
        return dict(answer.json())

    @property
    def stored(self) -> Path:
        """Where its stored responses and counters are."""
        (path,) = (self.folder / "state").glob("responses/*/responses.db")
        return path

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(f"{self.origin}{path}", timeout=10, trust_env=False, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return httpx.post(f"{self.origin}{path}", timeout=20, trust_env=False, **more)

    def stop(self) -> int | None:
        """End the process as Ctrl-C would, and wait; its exit code."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            if self._inside:
                os.killpg(self._process.pid, signal.SIGINT)
            else:
                self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(10)
        return self._process.returncode

    def _wait_until_healthy(self, seconds: float = 30) -> None:
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                code = self._process.returncode
                raise ChainError(f"the chain ended with {code}:\n{self.log()}")
            try:
                if self.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise ChainError(f"no /health after {seconds} s:\n{self.log()}")


def start_that_fails(
    policy: str | None = None,
    options: Mapping[str, str] | None = None,
    tool: str = "mitmdump",
    listen_host: str | None = "127.0.0.1",
) -> tuple[subprocess.CompletedProcess[str], int]:
    """Start a chain that is expected to refuse; the finished process and the port it was given."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="interpose-chain-") as folder:
        chosen = {"confdir": f"{folder}/conf", "record_dir": "", **(options or {})}
        if policy is not None:
            path = Path(folder) / "bad.yaml"
            path.write_text(policy)
            chosen["policy"] = str(path)
        command: Sequence[str] = chain_command(
            port, f"reverse:{NOWHERE}", chosen, tool, listen_host
        )
        done = subprocess.run(
            command,
            cwd=folder,
            env=chain_env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )
    return done, port


def poll(condition: Any, seconds: float = 10, what: str = "condition") -> Any:
    """The first true value of `condition()`; AssertionError after `seconds` of asking."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for: {what}")
        time.sleep(0.05)
