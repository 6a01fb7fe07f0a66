"""What if: what logged sessions cost, and what they would have cost under a policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shim.account.whatif import cost
from shim.cli import main
from shim.logs import LoggedTurn, Session
from shim.policy.inforce import InForce
from shim.policy.load import parse_policy
from shim.turn import Usage
from tests.unit.test_dedup import numbered, output

LOGS = Path(__file__).resolve().parents[1] / "fixtures" / "logs"
FRUGAL = InForce(parse_policy("dedup: {}\ncache: {}\n"))
EMPTY = InForce(parse_policy("{}"))
STEPS = [output(1, numbered(1, 400)), output(2, "no news"), output(3, numbered(1, 400))]


def codex(usage: list[Usage | None], pause: float = 10.0) -> Session:
    turns = []
    for n, used in enumerate(usage):
        items: list[Any] = [{"role": "user", "content": "Read it."}]
        items += [item for step in STEPS[:n] for item in step]
        body = json.dumps({"model": "m", "input": items}).encode()
        turns.append(LoggedTurn(body, 1000.0 + pause * n, used))
    return Session("s", "s.jsonl", "codex", "responses", turns, [])


def claude(usage: list[Usage | None], pause: float = 10.0) -> Session:
    turns = []
    for n, used in enumerate(usage):
        talk = [{"role": "user", "content": "Read it. " * 200}]
        for k in range(n):
            talk += [
                {"role": "assistant", "content": f"{k}"},
                {"role": "user", "content": numbered(k, k + 9)},
            ]
        body = json.dumps({"model": "m", "max_tokens": 9, "messages": talk}).encode()
        turns.append(LoggedTurn(body, 1000.0 + pause * n, used))
    return Session("s", "s.jsonl", "claude-code", "messages", turns, [])


def test_what_was_billed_is_what_the_provider_counted() -> None:
    used = [Usage(8000), Usage(13_000, 8000), Usage(13_100, 13_000), Usage(20_000, 13_100)]
    made = cost(codex(list(used)), FRUGAL)
    assert made.turns == made.measured == 4
    assert made.was == 8000 + (5000 + 2000) + (100 + 3250) + (6900 + 3275)
    # The file that is read a second time is left out of the last turn, where it was not cached.
    text = len(json.dumps(numbered(1, 400)))
    assert made.saved == pytest.approx(text / 3.6, rel=0.35)
    assert made.would == pytest.approx(made.was - made.saved, rel=0.001)
    assert cost(codex(list(used)), EMPTY).would == made.was


def test_what_was_left_out_before_would_have_been_cached() -> None:
    used = [None, None, None, Usage(18_000, 13_100), Usage(18_100, 18_000)]
    before = cost(codex(list(used[:4])), FRUGAL)
    after = cost(codex(list(used)), FRUGAL)
    left = before.saved
    assert after.saved == pytest.approx(2 * left)
    assert (after.was - after.would) - (before.was - before.would) == pytest.approx(
        left * 0.25, rel=0.01
    )


def test_a_log_without_counts_is_estimated() -> None:
    quick, slow = cost(codex([None] * 4), EMPTY), cost(codex([None] * 4, pause=900), EMPTY)
    assert quick.measured == 0 and quick.cached > 0.5 * quick.input
    assert slow.cached == 0 and slow.was == slow.input == pytest.approx(quick.input)


def test_breakpoints_where_the_client_had_none() -> None:
    used = [Usage(10_000), Usage(10_500), Usage(11_000)]
    made = cost(claude(list(used)), FRUGAL)
    assert made.was == 31_500
    assert made.would == pytest.approx(1.25 * 10_000 + (1000 + 625) + (1050 + 625), rel=0.02)
    late = cost(claude(list(used), pause=900), FRUGAL)
    assert late.would == pytest.approx(1.25 * 31_500, rel=0.02)
    own = [Usage(10_000, 0, 10_000), Usage(10_500, 10_000, 500)]
    assert cost(claude(list(own)), EMPTY).was == 12_500 + 1000 + 625
    repeats = [Usage(10_000, 0, 10_000), Usage(10_500, 10_000, 500), Usage(11_000, 10_500, 500)]
    plain, less = cost(claude(list(repeats)), EMPTY), cost(claude(list(repeats)), FRUGAL)
    # Lines that stand in the turn before are left out of what is written.
    assert less.saved > 50
    assert plain.was - less.would == pytest.approx(less.saved * 1.25, abs=2)
    off = InForce(parse_policy("cache: {breakpoints: false}"))
    assert cost(claude(list(used)), off).would == 31_500


def test_the_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["whatif", str(LOGS), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert {s["client"] for s in told["sessions"]} == {"codex", "claude-code"}
    assert told["all"]["turns"] == sum(s["turns"] for s in told["sessions"]) > 10
    assert told["all"]["would"] <= told["all"]["was"]
    assert main(["whatif", str(LOGS), "--read", "0.5"]) == 0
    shown = capfd.readouterr().out
    assert "would be" in shown and "4 sessions" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["README.md"], "README.md: no session with a request to a model"),
        (["--read", "2"], "--read is a share from 0 to 1, not 2"),
        (["tests", "--policy", "/nowhere.yaml"], "/nowhere.yaml"),
    ],
)
def test_bad_use(words: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["whatif", *words]) == 1
    assert said in " ".join(capfd.readouterr().err.split())


def test_nothing_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["whatif"]) == 1
    assert "name a PATH" in capfd.readouterr().err
