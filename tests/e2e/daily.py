"""A machine on which Codex is used every day, with a config.toml of its user's own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.clients import CODEX, codex_binary
from tests.e2e.place import Place

POLICY = """\
models:
  demo: { provider: demo, context_window: 100000, images: false, reasoning: [low, high] }
  other: { provider: demo, context_window: 200000 }
default: demo
"""
MINE = b"""\
# what I like\r
model = "gpt-5.5" # my model\r
approval_policy = "never"\r
\r
[model_providers.interpose]\r
name = "an older try"\r
base_url = "http://127.0.0.1:1/v1"\r
"""


@dataclass
class Daily(Place):
    """A machine with a config.toml on it, and a policy for the daemon."""

    port: int = 0

    @property
    def config(self) -> Path:
        return self.codex_home / "config.toml"

    @property
    def state(self) -> Path:
        return self.folder / "home" / ".local" / "state" / "interpose"

    @property
    def daemon(self) -> int:
        """The process number of the daemon."""
        return int(json.loads((self.state / "daemon.json").read_text())["pid"])

    def policy(self, text: str = POLICY) -> Path:
        path = self.folder / "work" / "policy.yaml"
        path.write_text(text)
        return path

    def begin(self, text: str = POLICY) -> None:
        words = ["--policy", str(self.policy(text)), "--port", str(self.port), "--no-record"]
        done = self.run("start", *words)
        assert done.returncode == 0, done.stderr

    def enable(self) -> None:
        done = self.run("enable")
        assert done.returncode == 0, done.stderr

    def codex(self, *words: str, version: str = CODEX) -> subprocess.CompletedProcess[str]:
        """Codex as its user starts it, and nothing else."""
        return subprocess.run(
            [str(codex_binary(version)), *words],
            cwd=self.folder / "work", env=self.env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=90,
        )  # fmt: skip

    def ask(self, *words: str, version: str = CODEX) -> subprocess.CompletedProcess[str]:
        return self.codex(
            *words, "exec", "--json", "--skip-git-repo-check", "hello", version=version
        )


def assert_answered(done: subprocess.CompletedProcess[str], text: str) -> None:
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    items = [e["item"] for e in events if e["type"] == "item.completed"]
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [item for item in items if item["type"] == "error"], done.stdout
    assert text in str([item["text"] for item in items if item["type"] == "agent_message"])
