"""Hours of many sessions: what a chain keeps of them is bounded, in memory and on disk."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.soak.run import run
from benchmarks.soak.verdict import Plan


@pytest.mark.full
@pytest.mark.parametrize("tool", ["mitmdump", "mitmweb"])
def test_hours_of_sessions(tool: str) -> None:
    # A day takes `python -m benchmarks.soak`; docs/benchmarks.md has what it found.
    found = asyncio.run(run(Plan(hours=2, sessions=50, tool=tool)))
    assert not found.failed, (found.checks, found.wrong[:3])
