"""`interpose completion`, tried by the shells themselves: bash and zsh at a terminal, fish asked."""

from __future__ import annotations

import argparse
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shim.cli import COMMANDS, completion, main
from tests.programs import found

pytestmark = pytest.mark.slow

POLICY = """
providers: { p: { base_url: "http://127.0.0.1:9/v1" } }
models:
  zebra-one: { provider: p }
  "$(touch pwned)": { provider: p }
  "`touch pwned`": { provider: p }
  "a b": { provider: p }
default: zebra-one
"""
#: What is typed before Tab, and what the line then is (bash, zsh) or what is offered (fish).
LINES = [
    ("interpose ser", "interpose serve ", "serve"),
    ("interpose opencode-go refr", "interpose opencode-go refresh ", "refresh"),
    ("interpose doctor --onl", "interpose doctor --online ", "--online"),
    ("interpose repair --strictness lo", "interpose repair --strictness loose ", "loose"),
    ("interpose run --model zeb", "interpose run --model zebra-one ", "zebra-one"),
    ("interpose model use zeb", "interpose model use zebra-one ", "zebra-one"),
    ("interpose serve --policy some-po", "interpose serve --policy some-policy.yaml ", "some-policy.yaml"),
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with one policy, which is in force."""
    (tmp_path / "some-policy.yaml").write_text(POLICY)
    monkeypatch.setenv("INTERPOSE_POLICY", str(tmp_path / "some-policy.yaml"))
    monkeypatch.setenv("INTERPOSE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def script(shell: str, place: Path) -> Path:
    path = place / f"completion.{shell}"
    path.write_text(completion.script(shell))
    return path


def needs(shell: str) -> str:
    made = found(shell)
    if not made:
        pytest.skip(f"{shell} is not installed on this machine; the others are tried")
    return made


class Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._got = b""

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def wait(self, words: str) -> None:
        """Until it shows ``words``; what it showed by then is forgotten."""
        deadline = time.monotonic() + 20
        while words.encode() not in self._got:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self._fd], [], [], left)[0]
            assert ready, f"no {words!r} in {self._got!r}"
            self._got += os.read(self._fd, 4096)
        self._got = self._got.partition(words.encode())[2]


@contextmanager
def terminal(*command: str) -> Iterator[Terminal]:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        command, stdin=child, stdout=child, stderr=child, start_new_session=True,
        env={**os.environ, "PS1": "$ ", "TERM": "dumb"},
    )  # fmt: skip
    os.close(child)
    try:
        yield Terminal(parent)
    finally:
        process.kill()
        process.wait()
        os.close(parent)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_tab_completes_commands_options_and_values(shell: str, place: Path) -> None:
    program = needs(shell)
    starts = {
        "bash": [program, "--norc", "--noprofile", "-i"],
        "zsh": [program, "-f", "-i"],
    }
    before = {"bash": "bind 'set enable-bracketed-paste off'", "zsh": "autoload -U compinit; compinit -D -u"}
    with terminal(*starts[shell]) as at:
        # The quotes keep the echo of the line from being taken for its outcome.
        at.type(f"{before[shell]}; eval \"$(cat {script(shell, place)})\"; echo rea''dy\n")
        at.wait("ready\r\n")
        for typed, line, _ in LINES:
            at.type(f"{typed}\t")
            at.wait(line.removeprefix(typed))
            # Ctrl-U takes the line away again.
            at.type("\x15echo ne''xt\n")
            at.wait("next\r\n")
        at.type("interpose run --model \t\t\x15echo do''ne\n")
        at.wait("done\r\n")
    assert not (place / "pwned").exists()


def test_fish_offers_commands_options_and_values(place: Path) -> None:
    program = needs("fish")
    source = f"source {script('fish', place)}"
    for typed, _, offered in LINES:
        done = subprocess.run(
            [program, "--no-config", "-c", f'{source}; complete -C "{typed}"'],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [offered], typed
    assert not (place / "pwned").exists()


def test_only_names_that_no_shell_expands_are_offered(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "--models"]) == 0
    assert capsys.readouterr().out == "zebra-one\n"
    (place / "some-policy.yaml").write_text("models: 5\n")
    assert main(["completion", "--models"]) == 0
    assert capsys.readouterr().out.strip() == ""


def test_a_shell_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion"]) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err


def test_the_tree_has_every_command() -> None:
    actions = completion.tree()._actions
    commands = next(a for a in actions if isinstance(a, argparse._SubParsersAction))
    assert list(commands.choices) == list(COMMANDS)
