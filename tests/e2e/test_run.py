"""The `interpose` command with the real Codex: sessions, exit codes, signals, what stays behind."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.codex.home import write_home
from shim.engines.bugs import make_repo
from shim.policy.load import parse_policy
from tests.e2e.chain import Chain, poll
from tests.e2e.clients import CODEX, OLD_CODEX, client_env, codex_binary
from tests.e2e.place import Place
from tests.e2e.upstreams import Answer, Upstream


def exec_words(place: Place, repo: Path, prompt: str, *options: str) -> list[str]:
    record = ["--record", str(place.folder / "flows")]
    return [
        "run", *record, *options, "--", "exec", "--json", "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox", "-C", str(repo), prompt,
    ]  # fmt: skip


def test_a_session_fixes_a_bug_and_leaves_only_the_recording(place: Place) -> None:
    repo = place.folder / "work" / "repo"
    bug = make_repo(repo, "shell")
    done = place.run(*exec_words(place, repo, bug.prompt))
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = [
        event["item"]["type"]
        for event in map(json.loads, done.stdout.splitlines())
        if event["type"] == "item.completed"
    ]
    assert "file_change" in kinds and "error" not in kinds, done.stdout
    assert subprocess.run(["sh", "-c", bug.test_command], cwd=repo).returncode == 0
    (flow_file,) = (place.folder / "flows").glob("*.flow")
    assert f"interpose: recorded in {flow_file}" in done.stderr
    place.assert_clean()


@pytest.mark.full
def test_the_exit_code_is_that_of_codex(place: Place) -> None:
    assert place.run("run", "--no-record", "--", "--no-such-option").returncode == 2
    assert place.run("run", "--no-record", "--", "--version").stdout == f"codex-cli {CODEX}\n"
    with Upstream([Answer(400, {}, [b'{"error":{"message":"no such model"}}'])]) as upstream:
        words = exec_words(place, place.folder, "hi", "--reverse", f"{upstream.url}/api/v1")
        done = place.run(*words)
    assert done.returncode == 1
    assert "no such model" in done.stdout
    assert [seen.path for seen in upstream.seen] == ["/api/v1/responses"]
    place.assert_clean()


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(
    place: Place, mute: tuple[str, Callable[[], bool]], number: signal.Signals
) -> None:
    url, asked = mute
    output = place.folder / "output.txt"
    words = exec_words(place, place.folder, "hi", "--reverse", url)
    process = place.start(*words, output=output)
    poll(asked, 30, "a request")
    process.send_signal(number)
    process.wait(30)
    assert process.returncode not in (0, None), output.read_text()
    assert "Traceback" not in output.read_text()
    place.assert_clean()


def test_the_chain_does_not_outlive_a_killed_command(
    place: Place, mute: tuple[str, Callable[[], bool]]
) -> None:
    url, asked = mute
    output = place.folder / "output.txt"
    words = exec_words(place, place.folder, "hi", "--reverse", url)
    process = place.start(*words, output=output)
    poll(asked, 30, "a request")
    process.kill()
    process.wait(10)
    poll(lambda: "addons/main.py" not in str(place.processes()), 10, "the chain's end")


def test_the_tour_ends_with_the_bug_fixed(place: Place) -> None:
    env = {**place.env, "UPSTREAM": "demo"}
    done = Place(place.folder, env).run("tour", "--record", str(place.folder / "flows"))
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "Model: demo (UPSTREAM=demo)",
        "Fixed: the test passes, by Codex's own apply_patch",
        "+    return subtotal(lines) + shipping - discount",
        "exit code 1",
        "exit code 0",
    ):
        assert words in done.stdout
    assert "warning" not in done.stdout
    (flow_file,) = (place.folder / "flows").glob("*.flow")
    assert flow_file.name in done.stdout
    place.assert_clean()


@pytest.mark.full
def test_the_tour_fails_when_the_bug_stays(place: Place) -> None:
    policy = place.folder / "policy.yaml"
    with Upstream([Answer(401, {}, [b'{"error":{"message":"who are you"}}'])]) as upstream:
        policy.write_text(
            f"providers: {{up: {{base_url: {upstream.url}/v1}}}}\nmodels: {{m: {{provider: up}}}}\n"
        )
        env = {**place.env, "UPSTREAM": "m", "UNSANDBOXED": "1", "INTERPOSE_POLICY": str(policy)}
        done = Place(place.folder, env).run("tour", "--record", str(place.folder / "flows"))
    assert done.returncode == 1, done.stdout
    assert "Not fixed:" in done.stdout and "who are you" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    place.assert_clean()


POLICY = """
models:
  demo: { provider: demo, context_window: 200000, images: false, reasoning: [low, high] }
  other: { provider: demo }
default: demo
"""


@pytest.mark.full
@pytest.mark.parametrize("version", [CODEX, OLD_CODEX])
def test_codex_takes_the_home_without_a_warning(version: str, tmp_path: Path) -> None:
    home, repo = tmp_path / "codex-home", tmp_path / "repo"
    bug = make_repo(repo, "unittest")
    with Chain(policy=POLICY) as chain:
        write_home(home, chain.url, parse_policy(POLICY), "other")
        write_home(home, chain.url, parse_policy(POLICY))
        env = {**client_env(tmp_path), "INTERPOSE_KEY": "any"}
        client = str(codex_binary(version))
        listed = subprocess.run(
            [client, "debug", "models"],
            env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        words = ["exec", "--json", "--dangerously-bypass-approvals-and-sandbox", "-C", str(repo)]
        done = subprocess.run(
            [client, *words, bug.prompt],
            env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    models = json.loads(listed.stdout)["models"]
    assert [model["slug"] for model in models] == ["demo", "other"]
    assert models[0]["context_window"] == 200000
    assert done.returncode == 0, done.stdout + done.stderr
    assert "metadata" not in done.stdout + done.stderr
    items = [e["item"] for e in map(json.loads, done.stdout.splitlines()) if "item" in e]
    assert not [item for item in items if item["type"] == "error"]
    assert [item for item in items if item["type"] == "file_change"]
    (rollout,) = (home / "sessions").rglob("*.jsonl")
    assert '"model_context_window":190000' in rollout.read_text()


def test_serve_prints_lines_that_work(place: Place) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    output = place.folder / "output.txt"
    process = place.start("serve", "--port", port, "--no-record", output=output)
    poll(lambda: "listening at" in output.read_text(), 30, "the chain")
    config = "model = " + output.read_text().partition("model = ")[2].partition("# In the")[0]
    home = place.folder / "pasted"
    home.mkdir()
    (home / "config.toml").write_text(config)
    client = [place.env["CODEX_BIN"], "exec", "--json", "--skip-git-repo-check", "hello"]
    env = {**place.env, "CODEX_HOME": str(home), "INTERPOSE_KEY": "any", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        client, env=env, cwd=place.folder / "work", stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    process.send_signal(signal.SIGINT)
    process.wait(20)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "metadata" not in done.stdout
    assert "Traceback" not in output.read_text()
