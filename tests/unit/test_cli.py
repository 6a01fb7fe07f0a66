"""The `interpose` command without a chain: arguments, one-line errors, the choice of a model."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from shim import cli
from shim.cli import COMMANDS, main
from shim.cli.chain import DEFAULT_POLICY, Options, add_chain_arguments, client_key, options
from shim.cli.tour_view import View, closing_table
from shim.policy.schema import Policy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_page(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"interpose {command}" in capsys.readouterr().out


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {command} " in out for command in COMMANDS)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "usage"),
        (["serv"], 2, "did you mean serve?"),
        (["zzz"], 2, "there are serve, home"),
        (["run", "--model", "nobody"], 1, "the policy has no model nobody; there are demo, "),
        (["run", "--model", "nobody:x"], 1, "there is no provider nobody; there are openrouter, "),
        (["serve", "--policy", "nowhere.yaml"], 1, "nowhere.yaml:1:1: cannot be read"),
        (["run", "--reverse", "ftp://x"], 1, "--reverse must be an http"),
        (["run", "--reverse", "http://"], 1, "--reverse must be an http"),
        (["doctor", "--port", "70000"], 2, "--port must be between"),
        (["serve", "--port", "70000"], 1, "--port must be between"),
        (["home", "~/.codex"], 1, "never touches"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    if words:
        assert err.count("\n") == 1 and err.startswith("interpose: ")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run exec hi", "unrecognized arguments: exec hi; write interpose run -- exec hi\n"),
        ("codex --model demo exec hi", "write interpose codex … -- exec hi\n"),
        ("run hi -- exec", "unrecognized arguments: hi\n"),
        ("status hi", "unrecognized arguments: hi\n"),
    ],
)
def test_what_is_passed_on_stands_behind_two_hyphens(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 2 and capsys.readouterr().err.endswith(said)


def test_a_bug_of_ours_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(name: str, words: list[str]) -> int:
        raise KeyError("gone")

    monkeypatch.setattr(cli, "_command", broken)
    monkeypatch.delenv("INTERPOSE_DEBUG", raising=False)
    assert main(["home"]) == 1
    assert capsys.readouterr().err == (
        "interpose: internal error: KeyError: 'gone' (INTERPOSE_DEBUG=1 shows where)\n"
    )


def test_a_reader_that_went_away_is_no_error() -> None:
    code = "import sys; sys.path.insert(0, '.'); from shim.cli import main; sys.exit(main())"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code, "home", "--help"],
        cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True, timeout=30,
    )  # fmt: skip
    os.close(write)
    assert "Traceback" not in done.stderr


def test_starting_imports_neither_mitmproxy_nor_rich() -> None:
    code = (
        "import sys; sys.path.insert(0, '.')\nfrom shim.cli import main\nmain(['--help'])\n"
        "heavy = {'mitmproxy', 'rich', 'httpx', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=30)


def test_home_writes_a_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my home"
    assert main(["home", str(folder), "--port", "9191", "--policy", str(DEFAULT_POLICY)]) == 0
    out = capsys.readouterr().out
    assert f"export CODEX_HOME='{folder}'" in out
    config = tomllib.loads((folder / "config.toml").read_text())
    assert config["model"] == "demo"
    assert config["model_providers"]["interpose"]["base_url"] == "http://127.0.0.1:9191/v1"


def chosen(*words: str) -> Options:
    parser = argparse.ArgumentParser()
    add_chain_arguments(parser)
    return options(parser.parse_args(list(words)))


def test_the_policy_is_the_one_named_then_that_of_the_environment_then_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("INTERPOSE_POLICY", raising=False)
    assert chosen().policy == DEFAULT_POLICY
    assert chosen("--reverse", "http://127.0.0.1:1").policy is None
    monkeypatch.setenv("INTERPOSE_POLICY", "/etc/mine.yaml")
    assert chosen().policy == Path("/etc/mine.yaml")
    assert chosen("--policy", "other.yaml").policy == Path.cwd() / "other.yaml"


def test_the_command_line_of_the_chain() -> None:
    words = chosen("--reverse", "http://up.example/x", "--upstream", "chat", "--no-record")
    line = " ".join(words.arguments(8099))
    assert "--mode reverse:http://up.example --listen-host 127.0.0.1 --listen-port 8099" in line
    assert "--set record_dir= --set upstream=chat" in line
    assert words.base_url(8099) == "http://127.0.0.1:8099/x"
    assert chosen().base_url(8099) == "http://127.0.0.1:8099/v1"
    assert Path(words.arguments(1)[1]) == ROOT / "addons" / "main.py"
    # Without a policy a model's name passes as it is.
    named = chosen("--reverse", "http://up.example", "--model", "any")
    assert "default_model" not in str(named.arguments(1)) and named.model == "any"
    assert "default_model=demo" in chosen("--model", "demo").arguments(1)


def test_the_key_that_a_client_is_told_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INTERPOSE_CLIENT_KEYS", "INTERPOSE_CLIENT_KEYS_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert client_key(chosen().load()) == "any"
    assert client_key(Policy()) == "'<the key of the target>'"
    # A key of the chain's own is named, never printed.
    monkeypatch.setenv("INTERPOSE_CLIENT_KEYS_FILE", "/run/my keys")
    assert client_key(Policy()) == "'<one of the keys in /run/my keys>'"
    monkeypatch.setenv("INTERPOSE_CLIENT_KEYS", "one two")
    assert client_key(chosen().load()) == "'<one of INTERPOSE_CLIENT_KEYS>'"


# What `make run` prints.


def shown(*events: dict[str, object]) -> tuple[str, View]:
    console = Console(file=io.StringIO(), width=100)
    view = View(console)
    for event in events:
        view.event(event)
    return console.file.getvalue(), view  # type: ignore[attr-defined]


def item(kind: str, **more: object) -> dict[str, object]:
    return {"type": "item.completed", "item": {"id": "item_1", "type": kind, **more}}


def test_the_events_of_a_session_are_shown() -> None:
    text, view = shown(
        {"type": "thread.started", "thread_id": "t"},
        item("reasoning", text="Let me look"),
        item("command_execution", command="ls [x]", aggregated_output="a\nb\n", exit_code=3),
        item("file_change", status="completed", changes=[{"path": "/r/a.py", "kind": "update"}]),
        item("file_change", status="failed", changes=[{"path": "/r/b.py", "kind": "update"}]),
        item("agent_message", text="Done.\nTwice."),
        item("a_new_kind", text="?"),
        {"type": "turn.failed", "error": {"message": "no credit"}},
    )
    words = ("Let me look", "ls [x]", "│ b", "exit code 3", "update /r/a.py", "Twice.", "no credit")
    assert all(word in text for word in words)
    assert "could not change /r/b.py" in text
    assert view.patched == ["/r/a.py"]
    assert view.failure == "no credit"


def test_long_output_is_cut_to_its_end() -> None:
    output = "\n".join(f"line {n}" for n in range(50))
    text, _ = shown(item("command_execution", command="x", aggregated_output=output, exit_code=0))
    assert "line 49" in text and "line 10\n" not in text and "…" in text


def test_the_closing_table_adds_up_the_turns() -> None:
    row = {
        "usage": {"input_tokens": 1000, "cached_tokens": 600, "output_tokens": 20},
        "ms": {"total": 50.0, "first_byte": 20.0, "added": 2.0},
        "calls": 2,
    }
    rows = [row, {**row, "ms": {"added": 4.0}}, {"usage": None, "ms": None}]
    console = Console(file=io.StringIO(), width=100)
    console.print(closing_table(json.loads(json.dumps(rows)), "flows/local/x.flow"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for cell in ("2,000 (1,200 from the prompt cache)", "40", "3.0 ms per turn, 4.0 ms worst"):
        assert cell in text
    assert "flows/local/x.flow" in text
