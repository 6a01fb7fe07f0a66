"""Recordings as tests: ``pytest --interpose-flows flows/`` replays each recorded turn as one.

Named alone, the flows are all that runs; beside paths of tests they are added to them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_SCRIPT = Path(__file__).resolve().parents[2] / "addons" / "replay.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("interpose", "recordings of coding agents as tests")
    group.addoption(
        "--interpose-flows",
        action="append",
        default=[],
        metavar="PATH",
        help="a flow file, or a folder of them, whose turns are replayed; may be given again",
    )
    group.addoption(
        "--interpose-policy",
        metavar="FILE",
        help="the policy they are replayed with, instead of the recorded one",
    )


def pytest_configure(config: pytest.Config) -> None:
    if flows := config.getoption("--interpose-flows"):
        named = config.args_source is pytest.Config.ArgsSource.ARGS
        found = [str(path) for given in flows for path in _files(Path(given))]
        config.args = [*(config.args if named else []), *dict.fromkeys(found)]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    given = parent.config.getoption("--interpose-flows")
    wanted = {path.resolve() for flows in given for path in _files(Path(flows))}
    if file_path.resolve() not in wanted:
        return None
    return Recording.from_parent(parent, path=file_path)


class Recording(pytest.File):
    """One flow file."""

    def collect(self) -> Iterator[pytest.Item]:
        # A process of its own: what reads flow files must not meet the team's own modules.
        words = [sys.executable, str(_SCRIPT), "--json", str(self.path)]
        if policy := self.config.getoption("--interpose-policy"):
            words += ["--policy", policy]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise self.CollectError(done.stderr.strip())
        for told in json.loads(done.stdout):
            left = told["not_compared"]
            name, differences = told["name"], told["differences"]
            yield RecordedTurn.from_parent(self, name=name, told=differences, left=left)


class RecordedTurn(pytest.Item):
    """One recorded exchange: it passes when today's bytes are the recorded ones, and is skipped
    where there is something that cannot be compared."""

    def __init__(self, *, told: list[str], left: str, **more: Any) -> None:
        super().__init__(**more)
        self._told, self._left = told, left

    def runtest(self) -> None:
        if self._told:
            pytest.fail("\n".join(self._told), pytrace=False)
        if self._left:
            pytest.skip(f"not compared: {self._left}")

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"recorded turn {self.name}"


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.flow")) if path.is_dir() else [path]
