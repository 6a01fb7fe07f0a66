"""A recording served back to the real Codex, with no upstream."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shim.engines.bugs import make_repo
from shim.record.summary import decisions
from tests.e2e.answers import chat_text
from tests.e2e.chain import ROOT, Chain, start_that_fails
from tests.e2e.clients import KEY, run_codex
from tests.e2e.record_sessions import SESSIONS
from tests.e2e.upstreams import Upstream

FLOWS = ROOT / "flows"


def test_a_recorded_session_fixes_the_bug_again(tmp_path: Path) -> None:
    make_repo(tmp_path / "work")
    flow = FLOWS / "bug-fix-by-the-demo-model.flow"
    with Upstream([chat_text("never asked")]) as upstream:
        with Chain(upstream.url, options={"replay": str(flow), "upstream": "chat"}) as chain:
            prompt = SESSIONS[flow.stem].prompt
            run = run_codex(chain.url, prompt, tmp_path / "work")
            page = chain.get("/health?exchanges").json()
            models = chain.get("/v1/models")
            log = chain.log()
    assert run.exit_code == 0, run.explain()
    assert run.final_text.startswith("Fixed."), run.explain()
    tests = [sys.executable, "-B", "-m", "unittest"]
    assert subprocess.run(tests, cwd=tmp_path / "work", capture_output=True).returncode == 0
    assert not upstream.posts() and models.status_code == 404
    rows = page["exchanges"]
    assert [row["route"] for row in rows] == [{}] * 6
    assert [decisions(row)[0][:19] for row in rows] == [
        f"replay: turn {n} of 6" for n in range(1, 7)
    ]
    assert "6 recorded turns of" in log and "for real" in log
    assert "Traceback" not in log
    differs = [said for row in rows for said in decisions(row) if "differs" in said]
    assert not [said for said in differs if "output" not in said], differs


@pytest.mark.full
def test_what_is_otherwise_is_told_item_by_item(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "greeting.txt").write_text("Helo world\nand more\n")
    with Chain(options={"replay": str(FLOWS / "apply-patch.flow")}) as chain:
        prompt = SESSIONS["apply-patch"].prompt
        first = run_codex(chain.url, prompt, work)
        assert first.final_text == "Corrected: Hello world.", first.explain()
        rows = chain.health() and chain.get("/health?exchanges").json()["exchanges"]
        # Another session on the same recording begins at its beginning.
        again = run_codex(chain.url, prompt, work)
        assert again.items[0]["type"] == "command_execution", again.explain()
    said = "\n".join(said for row in rows for said in decisions(row))
    assert "output call_a: differs at character" in said, said
    assert "and more" in said and "Helo world" in said
    assert (work / "greeting.txt").read_text() == "Hello world\nand more\n"


def test_after_the_recording_the_user_reads_why(tmp_path: Path) -> None:
    with Chain(options={"replay": str(FLOWS / "plain-answer.flow")}) as chain:
        body = {"model": "m", "input": "hi", "stream": False}
        headers = {"thread-id": "t"}
        first = chain.post("/v1/responses", json=body, headers=headers)
        other = {**body, "input": "and now?"}
        second = chain.post("/v1/responses", json=other, headers=headers)
    assert first.status_code == 200 and b"Hello, how are you today?" in first.content
    assert second.status_code == 400
    assert "the recording ends after turn 1" in second.json()["error"]["message"]


@pytest.mark.full
def test_a_session_is_recorded_sanitised_checked_replayed_and_served(tmp_path: Path) -> None:
    """What a team does with a recording of its own, each by the command for it."""
    shop = tmp_path / "home" / "maryann" / "shop"
    make_repo(shop)
    policy = "models: {demo: {provider: demo}}\ndefault: demo\n"
    prompt = "I am maryann@corp.example.io. The tests fail. Find the bug, fix it, run them again."
    with Chain(policy=policy) as chain:
        run = run_codex(chain.url, prompt, shop, model="demo")
        assert chain.get("/health?exchanges").json()["recording"]["error"] is None
        (recording,) = chain.record_dir.glob("*.flow")
        recording.rename(tmp_path / "mine.flow")
    assert run.exit_code == 0, run.explain()
    assert command("record", "--check", tmp_path / "mine.flow").returncode == 1
    shared = tmp_path / "shared.flow"
    done = command("record", "--sanitise", tmp_path / "mine.flow", "-o", shared)
    assert done.returncode == 0, done.stdout + done.stderr
    raw = shared.read_bytes()
    assert b"maryann" not in raw and b"corp.example.io" not in raw and KEY.encode() not in raw
    assert command("record", "--check", shared).returncode == 0
    done = command("replay", shared)
    assert done.returncode == 0 and "0 different" in done.stdout, done.stdout
    make_repo(tmp_path / "again")
    with Chain(options={"replay": str(shared)}) as chain:
        again = run_codex(chain.url, prompt, tmp_path / "again", model="demo")
        told = chain.get("/health?exchanges").json()["exchanges"]
    assert again.final_text == run.final_text.replace("maryann", "user"), again.explain()
    tests = [sys.executable, "-B", "-m", "unittest"]
    assert subprocess.run(tests, cwd=tmp_path / "again", capture_output=True).returncode == 0
    assert told and all(decisions(row)[0].startswith("replay: turn ") for row in told)


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from shim.cli import main; raise SystemExit(main())",
            *map(str, words),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"server_replay": str(FLOWS / "apply-patch.flow")}, "use --set replay=FILE"),
        ({"replay": "/nowhere.flow"}, "replay: /nowhere.flow: No such file"),
        ({"replay": str(ROOT / "README.md")}, "not a flow file"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(options: dict[str, str], why: str) -> None:
    done, _ = start_that_fails(options=options)
    said = [line for line in done.stderr.splitlines() if line.startswith("interpose: ")]
    assert done.returncode == 1 and len(said) == 1 and why in said[0], done.stderr
    assert "Traceback" not in done.stdout + done.stderr
