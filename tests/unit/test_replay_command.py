"""`interpose replay`: what it tells, what `--update` writes, and recordings as a test suite."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mitmproxy import http

from addons.flowfile import flows_of, read, row_of, set_body, write
from addons.replay import main

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
POLICY = """
providers: {up: {base_url: "http://127.0.0.1:7/api/v1", protocol: PROTOCOL, key: any}}
models: {test-model: {provider: up, model: other/model}}
default: test-model
"""
Out = pytest.CaptureFixture[str]


def spoilt(folder: Path, change: Callable[[bytes], bytes]) -> Path:
    """A copy of a recording whose client got other words in its last answer."""
    path = folder / "spoilt.flow"
    flows = list(flows_of(ROOT / "flows" / "apply-patch.flow"))
    client = flows[4]
    assert isinstance(client, http.HTTPFlow) and client.response
    set_body(client.response, change(client.response.content or b""))
    write(path, flows)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return spoilt(tmp_path, lambda body: body.replace(b"Corrected", b"Mended"))


def policy(folder: Path, protocol: str) -> str:
    path = folder / f"{protocol}.yaml"
    path.write_text(POLICY.replace("PROTOCOL", protocol))
    return str(path)


def test_a_difference_is_told_item_by_item(file: Path, capsys: Out) -> None:
    assert main([str(file)]) == 1
    said = capsys.readouterr().out
    assert "item 1, message assistant: differs at character 0\n" in said
    assert "recorded: Mended: Hello world.\n" in said
    assert "today:    Corrected: Hello world.\n" in said
    assert "byte" not in said and "3 exchanges replayed, 1 different" in said


def test_the_same_in_other_bytes_is_told_by_the_bytes(tmp_path: Path, capsys: Out) -> None:
    file = spoilt(tmp_path, lambda body: body.replace(b'"type":"message"', b'"type": "message"'))
    assert main([str(file)]) == 1
    assert "answer to the client differs at byte " in capsys.readouterr().out


def test_update_writes_what_is_today(file: Path, capsys: Out) -> None:
    mode, row = file.stat().st_mode, row_of(next(iter(flows_of(file))))
    assert main(["--update", str(file)]) == 0
    assert "1 exchanges written anew" in capsys.readouterr().out
    assert main([str(file)]) == 0
    assert file.stat().st_mode == mode and row_of(next(iter(flows_of(file)))) == row
    assert [path.name for path in file.parent.glob("*flow*")] == [file.name]
    before = file.read_bytes()
    assert main(["--update", str(file)]) == 0 and file.read_bytes() == before


def test_update_with_a_policy_takes_its_routes(file: Path, tmp_path: Path, capsys: Out) -> None:
    assert main(["--update", "--policy", policy(tmp_path, "chat"), str(file)]) == 0
    assert main([str(file)]) == 0, capsys.readouterr().out
    upstream = [f for f in flows_of(file) if row_of(f)["leg"] == "upstream"]
    for flow in upstream:
        assert isinstance(flow, http.HTTPFlow)
        assert flow.request.pretty_url == "http://127.0.0.1:7/api/v1/chat/completions"
        assert flow.request.headers["content-length"] == str(len(flow.request.raw_content or b""))
        assert "upstream · test-model → up/other/model" in flow.comment
    assert {r.row["route"]["model"] for r in read(file)} == {"other/model"}


def test_an_answer_in_another_protocol_cannot_be_made_up(
    file: Path, tmp_path: Path, capsys: Out
) -> None:
    before = file.read_bytes()
    assert main(["--update", "--policy", policy(tmp_path, "messages"), str(file)]) == 1
    assert " answers in messages: record it again" in capsys.readouterr().out
    assert file.read_bytes() == before


def test_json(file: Path, capsys: Out) -> None:
    assert main(["--json", str(file)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [len(t["differences"]) for t in told] == [0, 0, 1]
    assert told[0] == {"file": str(file), "name": "1: test-model", "differences": [], "not_compared": ""}


@pytest.fixture
def team(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder of a team's own, with a test that has nothing to do with recordings."""
    pytester.makepyfile(test_own="def test_own(): pass")
    (pytester.path / "flows").mkdir()
    shutil.copy(ROOT / "flows" / "apply-patch.flow", pytester.path / "flows")
    return pytester


def suite(team: pytest.Pytester, *words: str) -> pytest.RunResult:
    plugin = ("-p", "shim.record.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:xdist")
    return team.runpytest_inprocess(*plugin, *words)


def test_recordings_are_a_test_suite(team: pytest.Pytester) -> None:
    done = suite(team, "--interpose-flows", "flows", "-v")
    done.assert_outcomes(passed=3)
    done.stdout.fnmatch_lines(["flows/apply-patch.flow::1: test-model PASSED*"])
    suite(team, "--interpose-flows", "flows/apply-patch.flow", "test_own.py").assert_outcomes(
        passed=4
    )
    suite(team).assert_outcomes(passed=1)
    suite(team, "--interpose-flows", "flows", "-k", "2").assert_outcomes(passed=1, deselected=2)


def test_a_turn_that_became_different_fails(team: pytest.Pytester) -> None:
    spoilt(team.path / "flows", lambda body: body.replace(b"Corrected", b"Mended"))
    done = suite(team, "--interpose-flows", "flows")
    done.assert_outcomes(passed=5, failed=1)
    done.stdout.fnmatch_lines(["*item 1, message assistant: differs at character 0"])
    wanted = policy(team.path, "messages")
    done = suite(team, "--interpose-flows", "flows", "--interpose-policy", wanted)
    done.assert_outcomes(failed=6)


def test_what_is_no_recording_is_an_error(team: pytest.Pytester) -> None:
    (team.path / "flows" / "x.flow").write_text("x")
    done = suite(team, "--interpose-flows", "flows")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*x.flow: not a flow file*"])
    assert suite(team, "--interpose-flows", "nowhere").ret != 0
