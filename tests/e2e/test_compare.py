"""`interpose compare` with the real Codex: the table, who is left out, what stays behind."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.engines.bugs import Bug, make_repo
from tests.e2e.chain import poll
from tests.e2e.place import Place

CHECK = "python3 -B -m unittest"


@pytest.fixture
def task(place: Place) -> Bug:
    return make_repo(place.folder / "work" / "cart", "unittest")


def words(
    place: Place, routes: str, *options: str, dead: str = "http://127.0.0.1:9/v1"
) -> list[str]:
    """The command line before the prompt, with a policy of two models that work and one that
    does not."""
    policy = place.folder / "policy.yaml"
    policy.write_text(
        f"providers: {{ dead: {{ base_url: '{dead}', key: any }} }}\n"
        "models:\n"
        "  fast: { provider: demo }\n"
        "  slow: { provider: demo }\n"
        "  broken: { provider: dead }\n"
        "  rescued: { provider: dead, fallbacks: [fast] }\n"
        "default: fast\n"
    )
    repo = place.folder / "work" / "cart"
    record = ["--record", str(place.folder / "flows")]
    named = ["--policy", str(policy), "--repo", str(repo), "--routes", routes, *record]
    return ["compare", *named, *options]


def git(repo: Path, *said: str) -> str:
    return subprocess.run(["git", "-C", str(repo), *said], capture_output=True, text=True).stdout


@pytest.mark.full
def test_two_models_that_pass(place: Place, task: Bug) -> None:
    repo = place.folder / "work" / "cart"
    (repo / "not-committed.txt").write_text("x")
    before = git(repo, "status", "--porcelain", "--branch")
    done = place.run(*words(place, "fast,slow"), "--check", CHECK, "--", task.prompt)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout[done.stdout.rindex("─") + 1 :].splitlines()]
    lines = [line for line in lines if len(line) > 8]
    assert [line[0] for line in lines] == ["fast", "slow"]
    for line in lines:
        requests, tokens, cached, out, calls = (int(c.replace(",", "")) for c in line[1:6])
        assert requests == 6 and calls == 7 and tokens > cached > 0 and out > 0
        assert line[8] == "passed"
    for said in ("run 2 of 2, slow …", "run 1 of 2, fast: passed", "not part of it: 1 file"):
        assert said in done.stderr
    (flow_file,) = (place.folder / "flows").glob("*.flow")
    assert f"Recorded in {flow_file}" in done.stderr
    assert git(repo, "status", "--porcelain", "--branch") == before
    assert task.wrong in (repo / task.source).read_text()
    place.assert_clean()


@pytest.mark.full
def test_one_that_fails_is_named_and_left_out(place: Place, task: Bug) -> None:
    command = words(
        place, "fast,broken,rescued", "--times", "2", "--no-sandbox", "--json", "--keep"
    )
    done = place.run(*command, "--check", CHECK, "--", task.prompt)
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(done.stdout)
    fast, broken, rescued = found["routes"]
    assert (fast["passed"], broken["passed"], rescued["passed"]) == (2, 0, 2)
    assert fast["median"]["requests"] == 6 and broken["median"]["requests"] is None
    assert {run["check"] for run in broken["runs"]} == {"not run"}
    assert all("dead: nothing listens" in run["why"] for run in broken["runs"])
    assert rescued["runs"][0]["answered_by"] == {"fast": 6}
    for run in fast["runs"]:
        assert run["answered_by"] == {"fast": 6}
        assert git(Path(run["copy"]), "rev-parse", "HEAD").strip() == found["commit"]
        assert task.right in (Path(run["copy"]) / task.source).read_text()
    assert "Traceback" not in done.stderr
    assert "run 5 of 6, broken: dead: nothing listens" in done.stderr


@pytest.mark.full
def test_a_check_that_fails(place: Place, task: Bug) -> None:
    done = place.run(*words(place, "fast"), "--check", "echo no; exit 4", "--", task.prompt)
    assert done.returncode == 1
    assert "fast is left out: the check ended with exit code 4: no" in done.stdout
    place.assert_clean()


@pytest.mark.full
def test_a_session_that_takes_too_long_is_ended(
    place: Place,
    task: Bug,
    mute: tuple[str, Callable[[], bool]],
) -> None:
    command = words(place, "broken", "--no-sandbox", "--timeout", "3", dead=mute[0])
    done = place.run(*command, "--check", CHECK, "--", task.prompt)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "broken is left out: the session was ended after 3 s" in done.stdout
    place.assert_clean()


def test_a_signal_ends_everything(
    place: Place,
    task: Bug,
    mute: tuple[str, Callable[[], bool]],
) -> None:
    url, asked = mute
    output = place.folder / "output.txt"
    command = words(place, "broken", "--no-sandbox", dead=url)
    process = place.start(*command, "--check", CHECK, "--", task.prompt, output=output)
    poll(asked, 30, "a request")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    assert "Traceback" not in output.read_text()
    place.assert_clean()
