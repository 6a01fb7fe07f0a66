"""`interpose compare` without a chain: what it takes, what it copies, counts and prints."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from shim.cli import UsageError, main
from shim.cli.compare import named, only_demo
from shim.cli.compare_run import check
from shim.cli.compare_view import (
    FAILED,
    NOT_RUN,
    PASSED,
    Ledger,
    Numbers,
    Run,
    measure,
    medians,
    notes,
    result,
    table,
)
from shim.cli.copies import commit_of, copy, environment, look
from shim.engines.bugs import make_repo
from shim.policy.load import parse_policy

POLICY = """
providers:
  up: { base_url: "http://127.0.0.1:9/v1" }
models:
  fast: { provider: demo, price: { input: 1, output: 4 } }
  slow: { provider: demo, price: { input: 2, output: 8 } }
  sure: { provider: demo, fallbacks: [far] }
  far: { provider: up }
default: fast
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    make_repo(tmp_path / "cart", "unittest")
    return tmp_path / "cart"


def policy_file(folder: Path) -> str:
    (folder / "policy.yaml").write_text(POLICY)
    return str(folder / "policy.yaml")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--routes", "fast", "--check", "true"], "no prompt"),
        (["--routes", "fast", "--check", "true", "--", " "], "no prompt"),
        (["--routes", "fast", "--check", "", "--", "hi"], "--check is empty"),
        (
            ["--routes", "fats", "--check", "true", "--", "hi"],
            "no route fats; there are fast, slow",
        ),
        (["--routes", ",", "--check", "true", "--", "hi"], "--routes names no route; there are"),
        (["--routes", "fast", "--check", "true", "--repo", "nowhere", "--", "hi"], "not a folder"),
        (["--routes", "fast", "--check", "true", "--", "hi"], "is not in a git repository"),
    ],
)
def test_bad_use_is_one_sentence_and_exit_code_2(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert main(["compare", "--policy", policy_file(tmp_path), *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1 and err.startswith("interpose: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--routes", "fast"], "--check"),
        (["--check", "true"], "--routes"),
        (["--routes", "fast", "--check", "true", "--times", "0"], "must be at least 1"),
        (["--routes", "fast", "--check", "true", "--times", "few"], "--times"),
        (["--routes", "fast", "--check", "true", "--timeout", "-1"], "above 0"),
        (["--routes", "fast", "--check", "true", "--timeout", "nan"], "above 0"),
    ],
)
def test_bad_options_are_too(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *words, "--", "hi"])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_routes_are_models_of_the_policy_or_a_providers() -> None:
    policy = parse_policy(POLICY)
    assert named(" fast,slow ,fast,", policy) == ["fast", "slow"]
    assert named("up:any,demo:x", policy) == ["up:any", "demo:x"]
    with pytest.raises(UsageError):
        named("down:any", policy)
    auto = POLICY + (
        "auto: { name: any, classifier: fast, threshold: 0.7, fallback: slow,"
        " candidates: [{ model: fast, card: x }, { model: slow, card: y }] }\n"
    )
    assert named("any", parse_policy(auto)) == ["any"]


def test_only_the_demo_model_is_trusted_without_a_sandbox() -> None:
    policy = parse_policy(POLICY)
    assert only_demo(policy, ["fast", "slow", "demo:x"])
    assert not only_demo(policy, ["fast", "far"])
    assert not only_demo(policy, ["sure"])
    rule = POLICY + "route: [{ when: { images: true }, to: far }]\n"
    assert not only_demo(parse_policy(rule), ["fast"])


def test_a_copy_is_the_commit_and_knows_no_way_back(repo: Path, tmp_path: Path) -> None:
    assert look(repo).changes == 0
    (repo / "cart.py").write_text("changed\n")
    (repo / "new.txt").write_text("new\n")
    source = look(repo)
    assert (source.root, source.inside, source.changes) == (repo, "", 2)
    made = copy(source.root, tmp_path / "copy")
    assert "def total" in (made / "cart.py").read_text()
    assert not (made / "new.txt").exists()
    assert commit_of(made) == commit_of(repo)
    config = (made / ".git" / "config").read_text()
    assert "remote" not in config and str(repo) not in config


def test_a_folder_in_the_repository_is_found_again(tmp_path: Path) -> None:
    make_repo(tmp_path / "repo", "shell")
    assert look(tmp_path / "repo" / "lib").inside == "lib"
    (tmp_path / "repo" / "fresh").mkdir()
    with pytest.raises(UsageError, match="fresh is not in the last commit"):
        look(tmp_path / "repo" / "fresh")


def test_what_cannot_be_copied_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(UsageError, match="is not in a git repository"):
        look(tmp_path)
    empty = tmp_path / "empty"
    subprocess.run(["git", "init", "--quiet", str(empty)], check=True, env=environment(os.environ))
    with pytest.raises(UsageError, match="has no commit yet"):
        look(empty)


def test_git_variables_of_a_hook_do_not_lead_elsewhere(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert look(repo).root == repo
    assert check('test -z "$GIT_DIR"', repo, 10) == ""


def test_a_check_tells_why_it_did_not_pass(tmp_path: Path) -> None:
    assert check("exit 0", tmp_path, 10) == ""
    assert check("exit 3", tmp_path, 10) == "the check ended with exit code 3"
    assert check("echo one; echo two >&2; false", tmp_path, 10) == (
        "the check ended with exit code 1: two"
    )
    # A fifo that nobody writes to holds it up for good.
    assert check("mkfifo f && cat f", tmp_path, 0.2) == "the check was ended after 0.2 s"


def row(exchange: str, thread: str | None = "t1", **more: object) -> dict[str, object]:
    usage = {"input_tokens": 100, "cached_tokens": 60, "output_tokens": 7}
    plain = {"exchange": exchange, "thread": thread, "route": {"name": "fast"}, "calls": 2}
    return plain | {"usage": usage, "error": None} | more


def test_a_run_is_the_sum_of_its_rows() -> None:
    other = {"name": "", "provider": "up", "model": "m"}
    rows = [row("1"), row("2", route=other), row("3", usage=None), row("4", error="x", usage=None)]
    assert measure(rows) == Numbers(4, 200, 120, 14, 8, 1, {"fast": 2, "up:m": 1})
    assert measure([row("1", usage=None)]).input_tokens is None
    assert measure([]) == Numbers()


def test_what_an_earlier_run_left_behind_is_not_the_next_ones() -> None:
    ledger = Ledger()
    assert ledger.take([row("1", "a")], "a") == [row("1", "a")]
    # A run that was ended before its first answer has told its thread all the same.
    assert ledger.take([row("1", "a")], "b") == []
    late = [row("1", "a"), row("2", "a"), row("3", "b")]
    new = [row("4", "c"), row("5", "c/agent"), row("6", None)]
    assert ledger.take(late + new, "c") == new
    assert ledger.take(late + new, "d") == []


def ran(route: str, number: int, seconds: float, why: str = "", state: str = FAILED) -> Run:
    numbers = Numbers(number * 10, 1000 * number, 500 * number, 50, number, 0, {route: number})
    return Run(route, number, seconds, state if why else PASSED, why, numbers)


def printed(runs: Mapping[str, Sequence[Run]]) -> list[list[str]]:
    """The cells of each line of the table as 80 columns show it."""
    console = Console(file=io.StringIO(), width=80)
    console.print(table(runs, 80))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    rows = text[text.rindex("─") + 1 :].split("\n")
    return [re.split(r" {2,}", row.strip()) for row in rows if row.strip()]


def test_the_table_shows_medians_of_what_passed() -> None:
    runs = {
        "a": [ran("a", 1, 9.0), ran("a", 2, 1.0), ran("a", 3, 100.0, "the check said no")],
        "b": [ran("b", 1, 1, "dead", NOT_RUN)] * 3,
    }
    assert medians(runs["a"])["requests"] == 15
    assert printed(runs) == [
        ["a", "15", "1,500", "750", "50", "1.5", "5.0 s", "2 of 3"],
        ["b", "–", "–", "–", "–", "–", "–", "0 of 3"],
    ]
    assert notes(runs) == [
        "a, run 3 is left out: the check said no",
        *["b, run 1 is left out: dead"] * 3,
    ]


def test_one_run_each_says_what_became_of_it() -> None:
    runs = {
        "[b]a[/b]": [ran("[b]a[/b]", 1, 2)],
        "c": [ran("c", 1, 2, "it said no")],
        "d": [ran("d", 1, 2, "dead", NOT_RUN)],
    }
    shown = [(line[0], line[-1]) for line in printed(runs)]
    assert shown == [("[b]a[/b]", "passed"), ("c", "failed"), ("d", "not run")]
    assert notes(runs) == ["c is left out: it said no", "d is left out: dead"]


def test_numbers_that_mean_less_than_they_seem_are_named() -> None:
    numbers = Numbers(4, None, None, None, 0, 2, {"a": 1, "b": 3})
    runs = {"a": [Run("a", 1, 1.0, PASSED, "", numbers)]}
    assert printed(runs)[0][2:5] == ["–", "–", "–"]
    assert notes(runs) == [
        "a was answered by b (3), a (1)",
        "a: 2 answers came without a count of their tokens",
    ]


def test_the_result_is_plain_json() -> None:
    runs = {"a": [ran("a", 1, 2.5), ran("a", 2, 3, "no")]}
    (found,) = json.loads(json.dumps(result(runs)))
    assert (found["route"], found["passed"], found["median"]["seconds"]) == ("a", 1, 2.5)
    assert found["runs"][1] == {
        "route": "a", "number": 2, "seconds": 3, "check": "failed", "why": "no", "copy": None,
        "requests": 20, "input_tokens": 2000, "cached_tokens": 1000, "output_tokens": 50,
        "tool_calls": 2, "uncounted": 0, "answered_by": {"a": 2},
    }  # fmt: skip
