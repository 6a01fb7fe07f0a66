"""A session of the real Claude Code, recorded, shown, sanitised, replayed and served back to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from addons.flowfile import read
from shim.record.summary import decisions
from tests.clients.brains import speak
from tests.clients.run import claude_code_run
from tests.clients.work import CLIENT_KEY, PROVIDER_KEY, REPORT, assert_fixed, policy, worker
from tests.clients.work import make_project as make
from tests.e2e.browser import Browser
from tests.e2e.chain import ROOT, Chain
from tests.e2e.test_mitmweb import BINARY, ROWS, SHOWN, look, mitmweb, picture
from tests.e2e.upstreams import Upstream


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording of a session in which a bug was fixed, as it may be shared."""
    folder = tmp_path_factory.mktemp("recorded")
    project = folder / "home" / "maryann" / "prices"
    project.parent.mkdir(parents=True)
    make(project)
    with Upstream(speak("chat", worker("claude-code", project))) as upstream:
        with Chain(policy=policy(upstream.url, "chat")) as chain:
            run = claude_code_run(chain.origin, project)
            assert chain.get("/health?exchanges").json()["recording"]["error"] is None
            (recording,) = chain.record_dir.glob("*.flow")
            recording.rename(folder / "mine.flow")
    assert run.events()[-1]["result"] == REPORT, run.explain()
    assert_fixed(project)
    made = folder / "claude-code.flow"
    done = command("record", "--sanitise", folder / "mine.flow", "-o", made)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def test_it_is_sanitised_and_replays_byte_for_byte(shared: Path) -> None:
    raw = shared.read_bytes()
    for gone in (b"maryann", CLIENT_KEY.encode(), PROVIDER_KEY.encode()):
        assert gone not in raw
    done = command("record", "--check", shared)
    assert done.returncode == 0, done.stdout
    done = command("replay", shared)
    assert done.returncode == 0 and "0 different" in done.stdout, done.stdout
    assert {r.request.path.partition("?")[0] for r in read(shared)} == {"/v1/messages"}


def test_it_is_served_back_with_nothing_upstream(shared: Path, project: Path) -> None:
    """The live one reads, edits and tests a copy by itself; its upstream was shut down."""
    with Upstream(speak("chat", worker("claude-code", project))) as upstream:
        gone = upstream.url
    options = {"replay": str(shared)}
    with Chain(gone, options=options, policy=policy(gone, "chat")) as chain:
        run = claude_code_run(chain.origin, project)
        told = chain.get("/health?exchanges").json()["exchanges"]
        log = chain.log()
    assert run.exit_code == 0 and run.events()[-1]["result"] == REPORT, run.explain() + log
    assert_fixed(project)
    assert told and all(decisions(row)[0].startswith("replay: turn ") for row in told)
    assert not upstream.seen and "Traceback" not in log


@pytest.mark.skipif(not BINARY, reason="no Chromium: apt-get install chromium, or CHROMIUM=…")
def test_its_turns_in_mitmweb(shared: Path, tmp_path: Path) -> None:
    assert BINARY
    with mitmweb(shared, tmp_path) as url, Browser(BINARY, 1340, 680) as browser:
        browser.open(url)
        browser.wait(f"{ROWS}.length >= 8")
        edits = [
            n for n, r in enumerate(read(shared)) if b"old_string" in (r.response or r.request).body
        ]
        assert edits
        browser.wait(f"{ROWS}.some(row => row.innerText.includes('🔨'))")
        look(browser, 2 * edits[0], "Response")
        browser.wait(f"{SHOWN}.includes('call Edit')")
        assert "The operator is wrong." in browser.run(SHOWN)
        picture(browser, "claude-code")


def command(*words: object) -> subprocess.CompletedProcess[str]:
    code = "from shim.cli import main; raise SystemExit(main())"
    run = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=60)
