"""What else there is around the daemon: a home of our own, a look before, a unit, the end of it."""

from __future__ import annotations

import json
import os
import signal

import pytest

from shim.daemon import env
from tests.e2e.chain import poll
from tests.e2e.clients import CODEX, OLD_CODEX, codex_binary
from tests.e2e.daily import MINE, Daily, assert_answered


def untouched(daily: Daily) -> bool:
    return [path.name for path in daily.codex_home.iterdir()] == ["config.toml"] and (
        daily.config.read_bytes() == MINE
    )


@pytest.mark.full
def test_codex_in_a_home_of_ours(daily: Daily) -> None:
    daily.begin()
    words = ["--", "exec", "--json", "--skip-git-repo-check", "hello"]
    os.kill(daily.daemon, signal.SIGKILL)
    assert_answered(daily.run("codex", *words), "offline demo model")
    again = daily.run("codex", "--", "exec", "resume", "--last", *words[2:])
    assert_answered(again, "offline demo model")
    assert len(list((daily.state / "codex" / "sessions").rglob("*.jsonl"))) == 1
    other = daily.run("codex", "--model", "other", *words)
    assert_answered(other, "offline demo model")
    assert 'model = "other"\n' in (daily.state / "codex" / "config.toml").read_text()
    assert daily.run("codex", "--", "--no-such-option").returncode == 2
    printed = daily.run("home").stdout
    assert f"export CODEX_HOME={daily.state / 'codex'}\n" in printed
    daily.env["CODEX_HOME"] = str(daily.state / "codex")
    assert_answered(daily.ask(), "offline demo model")
    del daily.env["CODEX_HOME"]
    assert untouched(daily)


@pytest.mark.parametrize("version", [CODEX, pytest.param(OLD_CODEX, marks=pytest.mark.full)])
def test_what_is_generated_is_a_config_and_a_catalog(daily: Daily, version: str) -> None:
    daily.begin()
    daily.env["CODEX_BIN"] = str(codex_binary(version))
    out = daily.folder / "review"
    done = daily.run("generate", str(out), "--with", "gpt-5.5", "--model", "other")
    assert done.returncode == 0, done.stderr
    assert untouched(daily)
    models = json.loads((out / "models.json").read_text())
    assert [entry["slug"] for entry in models["models"]] == ["demo", "other", "gpt-5.5"]
    # Codex itself takes it, and lists these and no others.
    config = (out / "config.toml").read_text()
    (out / "config.toml").write_text(f'model_catalog_json = "{out / "models.json"}"\n{config}')
    daily.env["CODEX_HOME"] = str(out)
    listed = daily.codex("debug", "models", version=version)
    slugs = [entry["slug"] for entry in json.loads(listed.stdout)["models"]]
    assert slugs == ["demo", "other", "gpt-5.5"]
    assert_answered(daily.ask(version=version), "offline demo model")
    done = daily.run("generate", "--with", "gpt-nope")
    assert done.returncode == 1 and "Codex has no model gpt-nope; it has gpt-" in done.stderr
    daily.env["CODEX_HOME"] = str(daily.codex_home)
    done = daily.run("generate", str(daily.codex_home))
    assert done.returncode == 1 and "interpose enable" in done.stderr and untouched(daily)


@pytest.mark.full
def test_what_a_unit_runs_takes_over(daily: Daily) -> None:
    daily.begin()
    first = daily.daemon
    output = daily.folder / "unit.txt"
    unit = daily.start("start", "--foreground", "--wait", output=output)
    second = daily.run("start", "--foreground")
    assert second.returncode == 1 and "running already" in second.stderr
    assert daily.daemon == first
    os.kill(first, signal.SIGKILL)
    poll(lambda: daily.daemon == unit.pid, 20, "the unit's own daemon")
    poll(lambda: daily.run("status").returncode == 0, 20, "its answer")
    assert daily.run("ensure").returncode == 0
    assert daily.daemon == unit.pid
    # A clean end is an exit code of 0, after which neither systemd nor launchd starts it again.
    assert daily.run("stop").returncode == 0
    assert unit.wait(10) == 0, output.read_text()


def test_uninstall_leaves_nothing_of_ours(daily: Daily) -> None:
    daily.begin()
    daily.enable()
    pid = daily.daemon
    assert env.keep(daily.state / "env", {"A_KEY": "a"})
    done = daily.run("uninstall")
    assert done.returncode == 0, done.stderr
    assert untouched(daily) and not daily.state.exists()
    assert pid not in daily.processes()
    assert daily.run("uninstall").returncode == 0
    assert daily.run("disable").returncode == 0
    assert untouched(daily)
