"""`python -m benchmarks --against`: real chains of this tree and of a commit, a few turns each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.against.run import FIGURES, THIS, Failed, Side, run
from benchmarks.systems import DIRECTIONS, ROOT


def side(folder: Path, script: str | None) -> Side:
    """A checkout whose mitmdump is ``script``; None: it has none."""
    tool = folder / ".venv" / "bin" / "mitmdump"
    tool.parent.mkdir(parents=True)
    if script:
        tool.write_text(script)
        tool.chmod(0o755)
    return Side("0123456789ab", folder)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "No such file or directory"),
        ("#!/bin/sh\necho starting\necho no such option: state\nexit 1\n", "no such option: state"),
    ],
)
def test_a_commit_that_cannot_be_started_is_left_out(
    tmp_path: Path, script: str | None, reason: str
) -> None:
    sides = [Side(THIS, ROOT), side(tmp_path / "it", script)]
    ticks: list[str] = []
    results = run(sides, ["interpose"], [1_000], 6, ticks.append)
    assert results["cases"] == [] and ticks == []
    ((direction, sentence),) = results["unavailable"]
    assert direction == "interpose"
    assert "\n" not in sentence
    assert sentence.startswith("0123456789ab cannot be started: ") and reason in sentence
    with pytest.raises(Failed, match="cannot be started"):
        run(sides[::-1], ["interpose"], [1_000], 6, ticks.append)


@pytest.mark.full
def test_this_tree_against_its_own_commit() -> None:
    words = ["--against", "HEAD", "--pairs", "2", "--sizes", "1000"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout[:12]
    assert f"Made of commit `{head}`" in done.stdout and f"against {head}" in done.stdout
    results = json.loads((ROOT / "benchmarks" / "results" / "against.json").read_text())
    assert results["unavailable"] == [] and results["against"] == {head: "HEAD"}
    assert [case["direction"] for case in results["cases"]] == list(DIRECTIONS)
    for case in results["cases"]:
        for figures in case["sides"].values():
            assert list(figures) == list(FIGURES)
            assert all(len(values) == 2 and min(values) > 0 for values in figures.values())
