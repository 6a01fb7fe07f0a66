"""`interpose … | head`: whatever prints ends in silence when its reader has gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shim.cli import COMMANDS
from shim.cli.pipe import printing
from tests.unit.test_screen import INTERPOSE, ROOT, WHATIF, chain, environment, recording

__all__ = ["chain", "recording"]

FLOWS = str(ROOT / "flows")
FLOW = str(ROOT / "flows" / "plain-answer.flow")
POLICY = str(ROOT / "policies" / "default.yaml")
PRINT = [
    ("--help",),
    ("--version",),
    ("stats", "--help"),
    ("replay", FLOWS),
    ("replay", "--json", FLOW),
    ("record", "--check", FLOW),
    ("policy", "explain", FLOWS),
    ("policy", "explain", "--json", FLOW),
    ("policy", "diff", POLICY, POLICY, FLOW),
    ("policy", "check", POLICY),
    ("policy", "schema"),
    ("stats", "RECORDING"),
    ("stats", "--plot", "RECORDING"),
    ("stats", "--csv", "RECORDING"),
    ("audit", "--journal", "RECORDING"),
    ("audit", "--json", "--journal", "RECORDING"),
    ("audit", "--session", "000000000001", "--journal", "RECORDING"),
    ("audit", "verify", "--journal", "RECORDING"),
    WHATIF,
    ("top", "--once", "--url", "CHAIN"),
    ("top", "--json", "--url", "CHAIN"),
    ("list", "--policy", POLICY),
    ("doctor", "--policy", POLICY),
    ("completion", "bash"),
    ("repair", str(ROOT / "README.md")),
]


def closed() -> int:
    """A pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


@pytest.mark.slow
@pytest.mark.parametrize("words", PRINT, ids=[" ".join(words[:2]) for words in PRINT])
def test_a_reader_that_went_away_is_no_error(
    words: tuple[str, ...], recording: Path, chain: str, tmp_path: Path
) -> None:
    stands = {"RECORDING": str(recording), "CHAIN": chain}
    command = [INTERPOSE, *(stands.get(word, word) for word in words)]
    env = environment(HOME=str(tmp_path), XDG_STATE_HOME=str(tmp_path))
    # The addon scripts, and the rest: both may have something to say on stderr, which is gone, too.
    for both in (False, True) if words in (("replay", FLOWS), ("policy", "schema")) else (False,):
        pipe = closed()
        done = subprocess.run(
            command, stdout=pipe, stderr=pipe if both else subprocess.PIPE, env=env, timeout=60
        )
        os.close(pipe)
        assert (done.returncode, done.stderr or b"") == (141, b""), words


def test_every_command_that_is_left_out_prints_little() -> None:
    """Those that serve, start, ask or change something; a new command that prints goes above."""
    little = {
        "serve", "home", "run", "chat", "codex", "app", "enable", "disable", "model", "start",
        "stop", "restart", "status", "ensure", "generate", "uninstall", "compare", "open",
        "opencode-go", "patch-app", "restore-app", "tour",
    }  # fmt: skip
    assert little | {words[0] for words in PRINT} >= set(COMMANDS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_in_a_line(recording: Path) -> None:
    for words in (("policy", "schema"), ("stats", str(recording))):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [INTERPOSE, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
                env=environment(),
            )  # fmt: skip
        line = "interpose: the output cannot be written: No space left on device\n"
        assert (done.returncode, done.stderr) == (1, line), words


def test_what_is_no_end_of_a_reader_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    def raising(error: BaseException) -> Callable[[], Any]:
        def run() -> int:
            raise error

        return run

    assert printing(lambda: 3) == 3
    assert printing(raising(KeyboardInterrupt())) == 130
    with pytest.raises(SystemExit) as ended:
        printing(raising(SystemExit(2)))
    assert ended.value.code == 2
    with pytest.raises(ValueError):
        printing(raising(ValueError()))
    assert sys.stdout and capsys.readouterr() == ("", "")
