"""docs/commands.md: each command is run on an empty home, and says what the page shows.

With INTERPOSE_WRITE_DOCS=1 the page is written.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from shim.cli import COMMANDS
from tests.e2e.chain import ROOT, free_port, poll
from tests.e2e.commands import ENTRIES, PAGE, masked, page, said, sections
from tests.e2e.daily import Daily

SERVED = "8080"


class Shell:
    """A terminal on that machine, with `interpose` on its PATH; what it shows is collected."""

    def __init__(self, daily: Daily) -> None:
        self.daily = daily
        self.work = daily.folder / "work"
        self.ports = {str(daily.port): "8790", str(free_port()): "8791", str(free_port()): SERVED}
        bin = daily.folder / "bin"
        bin.mkdir()
        command = bin / "interpose"
        command.write_text(f'#!/bin/sh\nexec {shlex.join(daily.command())} "$@"\n')
        command.chmod(0o755)
        self.env = {
            **daily.env,
            "PATH": f"{bin}:{daily.env['PATH']}",
            # Else a long path is cut.
            "COLUMNS": "250",
            "PYTHONUNBUFFERED": "1",
        }

    def say(self, line: str, *, quiet: bool) -> str:
        """What ``line`` prints; with ``quiet`` only on stdout."""
        if line.startswith("interpose serve"):
            return self._served(line)
        done = subprocess.run(
            ["/bin/sh", "-c", self._here(line)], cwd=self.work, env=self.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else subprocess.STDOUT,
            text=True, timeout=120,
        )  # fmt: skip
        assert "Traceback" not in done.stdout and "internal error" not in done.stdout, done.stdout
        return self._there(done.stdout)

    def _served(self, line: str) -> str:
        """Until it answers, and Ctrl-C."""
        log = self.daily.folder / "served.txt"
        port = self._here(f" --port {SERVED}")
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {line}{port}"], cwd=self.work, env=self.env,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        poll(lambda: "listening" in log.read_text() or process.poll(), 30, "the chain")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0, log.read_text()
        return self._there(log.read_text())

    def _here(self, text: str) -> str:
        for here, there in self.ports.items():
            text = text.replace(there, here)
        return text

    def _there(self, text: str) -> str:
        folder = self.daily.folder
        pairs = [(f"{folder}/work", "~/work"), (f"{folder}/home", "~")]
        for here, there in [*pairs, (f"{ROOT}/", ""), *self.ports.items()]:
            text = text.replace(here, there)
        return masked(text)


def ready(daily: Daily) -> Shell:
    """The machine of the page: a policy, a daemon, an answer and a session to look at."""
    daily.config.unlink()
    daily.begin()
    (daily.folder / "work" / "answer.txt").write_text(
        '<tool_call>{"name": "shell", "arguments": {"command": ["ls"]}}</tool_call>\n'
    )
    sessions = daily.codex_home / "sessions"
    sessions.mkdir()
    shutil.copy(ROOT / "tests" / "fixtures" / "logs" / "codex-0.169.0.jsonl", sessions)
    return Shell(daily)


def run(shell: Shell, name: str) -> str:
    """The command's part of the page."""
    entry, lines = ENTRIES[name], []
    for line in entry.lines:
        printed = shell.say(line, quiet=entry.codex).rstrip("\n").splitlines()
        if entry.first and len(printed) > entry.first + entry.last:
            printed[entry.first : len(printed) - entry.last] = ["…"]
        lines.append("\n".join([f"$ {line}", *printed]) + "\n")
    return said(lines)


def compare(found: dict[str, str]) -> None:
    """With what the page says, or write it there."""
    if os.environ.get("INTERPOSE_WRITE_DOCS"):
        old = sections(PAGE.read_text("utf-8")) if PAGE.exists() else {}
        PAGE.write_text(page({name: text for name, (_, text) in old.items()} | found), "utf-8")
    stands = sections(PAGE.read_text("utf-8"))
    for name, text in found.items():
        assert stands[name][1] == text


def shown(shell: Shell, *, codex: bool) -> dict[str, str]:
    mine = {name for name in COMMANDS if ENTRIES[name].codex is codex}
    if sys.platform != "linux":
        mine = {name for name in mine if not ENTRIES[name].linux}
    found = {}
    # The second need what the first leave; what is removed is not there for others.
    last = mine & {"uninstall"}
    for names in (
        {"chat", "restart", "serve"} & mine,
        mine - {"chat", "restart", "serve"} - last,
        last,
    ):
        with ThreadPoolExecutor(4) as pool:
            found |= dict(zip(names, pool.map(partial(run, shell), names), strict=True))
    return found


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "96")


@pytest.mark.full
def test_the_page_shows_what_happens(daily: Daily) -> None:
    # What asks nobody on the network shall not be told of the tests' proxy.
    del daily.env["HTTP_PROXY"], daily.env["HTTPS_PROXY"]
    compare(shown(ready(daily), codex=False))
    assert not daily.state.exists()


@pytest.mark.full
def test_the_page_shows_what_codex_does(daily: Daily) -> None:
    compare(shown(ready(daily), codex=True))
