"""``interpose top`` against a real chain, and without one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.chain import Chain
from tests.e2e.live_work import GONE, SLOW, Held, at_work, work
from tests.e2e.upstreams import closed_port

INTERPOSE = Path(sys.executable).parent / "interpose"


def top(url: str, *words: str, columns: int = 110) -> subprocess.CompletedProcess[str]:
    # A proxy of the user's is not for what runs on this machine.
    env = {**os.environ, "COLUMNS": str(columns), "HTTP_PROXY": "http://127.0.0.1:9"}
    return subprocess.run(
        [INTERPOSE, "top", "--url", url, *words],
        capture_output=True, text=True, timeout=60, env=env, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture(scope="module")
def busy() -> Iterator[tuple[Chain, Held]]:
    with at_work() as (chain, held):
        work(chain)
        yield chain, held


@pytest.mark.full
def test_once(busy: tuple[Chain, Held]) -> None:
    chain, held = busy
    with held.streaming(chain):
        done = top(chain.origin, "--once")
    assert done.returncode == 0 and not done.stderr, done.stderr
    said = done.stdout
    assert "sessions 3 · turns 12 · errors 1 · under way 1" in said
    assert re.search(rf"{SLOW} +big +slow/big +streaming +\d s", said), said
    assert re.search(rf"{GONE} +– +0 +1 ", said), said
    assert "Errors: 1; provider gone is not well." in said and "\x1b" not in said
    sums = dict(re.findall(r"(input|cached|saved|billed) ([\d.]+)k", said))
    assert set(sums) == {"input", "cached", "saved", "billed"} and float(sums["saved"]) > 1


def test_json(busy: tuple[Chain, Held]) -> None:
    chain, _ = busy
    done = top(chain.origin, "--once", "--json")
    assert done.returncode == 0 and not done.stderr, done.stderr
    page = json.loads(done.stdout)
    rows = chain.get("/health?exchanges=1").json()["exchanges"]
    accounts = [row["account"] for row in rows if row["account"]]
    for name in ("input", "cached", "saved", "billed", "output"):
        assert page["live"]["totals"][name] == pytest.approx(sum(a[name] for a in accounts)), name


@pytest.mark.parametrize("words", [["--once"], ["--once", "--json"], []])
def test_without_a_chain_it_is_one_sentence(words: list[str]) -> None:
    done = top(f"http://127.0.0.1:{closed_port()}", *words)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("interpose: no chain answers at http://127.0.0.1:")
    assert "interpose serve" in done.stderr and done.stderr.count("\n") == 1


def test_a_chain_that_wants_a_key_wants_it_from_here_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTERPOSE_KEY", raising=False)
    with Chain(keys=["client-key-0123456789"]) as chain:
        done = top(chain.origin, "--once")
        assert done.returncode == 1 and "needs one of its client keys" in done.stderr
        monkeypatch.setenv("INTERPOSE_KEY", "client-key-0123456789")
        assert top(chain.origin, "--once").returncode == 0
