"""The real Codex does its work with a model that writes every call as text, in many dialects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shim.record.summary import decisions
from tests.e2e.chain import Chain
from tests.e2e.clients import run_codex
from tests.e2e.test_codex_loop import bug_with_test

#: One of each kin: JSON, XML, pairs, tokens, Python, fences, bare forms; and among thoughts.
REPRESENTATIVE = [
    "hermes",
    "qwen3_coder",
    "glm45",
    "anthropic",
    "dsml_v4",
    "deepseek_v31",
    "kimi_k2/thinking",
    "harmony",
    "mistral_v11",
    "pythonic",
    "fenced_json",
    "codex_patch",
]
#: What `make test` runs; the rest is for `make test-full`.
ALWAYS = ("hermes", "codex_patch")
POLICY = "models: {{m: {{provider: demo, model: {0}}}}}\ndefault: m\nrepair: {1}\n"


@pytest.mark.parametrize(
    "dialect",
    [d if d in ALWAYS else pytest.param(d, marks=pytest.mark.full) for d in REPRESENTATIVE],
)
def test_codex_fixes_the_bug_though_the_calls_are_text(dialect: str, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    bug_with_test(folder)
    with Chain(policy=POLICY.format(dialect, "{}")) as chain:
        run = run_codex(chain.url, "The test fails. Fix the bug.", folder, model="m")
        health, rows = chain.health(), chain.get("/health?exchanges").json()["exchanges"]
        log = chain.log()
    assert run.exit_code == 0, run.explain() + log
    kinds = [item["type"] for item in run.items]
    assert "file_change" in kinds and "command_execution" in kinds, run.explain()
    assert "price * count" in (folder / "prices.py").read_text(), run.explain()
    again = [sys.executable, "-m", "unittest", "-q", "test_prices"]
    assert subprocess.run(again, cwd=folder, capture_output=True, timeout=30).returncode == 0
    notes = [d for row in rows for d in decisions(row) if d.startswith("repair: ")]
    assert health["repairs"] == len(notes) > 0
    assert any("apply_patch" in note for note in notes), notes


def test_without_repair_the_call_is_prose(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    bug_with_test(folder)
    with Chain(policy="models: {m: {provider: demo, model: hermes}}\ndefault: m\n") as chain:
        run = run_codex(chain.url, "The test fails. Fix the bug.", folder, model="m")
        health = chain.health()
    assert "<tool_call>" in run.final_text, run.explain()
    assert "repairs" not in health
    assert "price + count" in (folder / "prices.py").read_text()
