"""The first session on a new machine: a set key chooses the model, and what is printed works.

The provider is the shipped policy's own, at its own address: HTTPS_PROXY leads to a stand-in.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.e2e.answers import chat_text
from tests.e2e.chain import ROOT, free_port, poll
from tests.e2e.daily import MINE, Daily, assert_answered
from tests.e2e.place import Place
from tests.e2e.test_wayout import connect_proxy
from tests.e2e.tls import Authority
from tests.e2e.upstreams import Upstream

HOST, NAME = "openrouter.ai", "OPENROUTER_API_KEY"
KEY = "sk-or-v1-5a17c0de"
SAID = "from the provider itself"
CHOSEN = f"Model: openrouter's kimi-k2, since {NAME} is set; another: "


@pytest.fixture
def provider(daily: Daily) -> Iterator[Upstream]:
    """OpenRouter as the machine of ``daily`` reaches it; no key of it is set yet."""
    authority = Authority(daily.folder)
    with ExitStack() as stack:
        tls = authority.context(HOST)
        upstream = stack.enter_context(Upstream([chat_text(SAID)], tls=tls))
        port, _ = stack.enter_context(connect_proxy(upstream.port, HOST))
        daily.env |= {
            "HTTPS_PROXY": f"http://127.0.0.1:{port}",
            "SSL_CERT_FILE": str(authority.pem),
            "NO_PROXY": "127.0.0.1,localhost",
        }
        yield upstream


@pytest.fixture
def once(daily: Daily) -> Daily:
    """The daemon has run, so that its port is known; nothing was chosen."""
    done = daily.run("start", "--port", str(daily.port), "--no-record")
    assert done.returncode == 0, done.stderr
    assert "Model: the offline demo, a script and no language model" in done.stdout
    return daily


def assert_asked(upstream: Upstream) -> None:
    """The provider was asked as the shipped policy says, and only so."""
    assert upstream.posts()
    for seen in upstream.posts():
        assert seen.path == "/api/v1/chat/completions" and seen.headers["host"] == HOST
        assert seen.headers["authorization"] == f"Bearer {KEY}"
        assert seen.json()["model"] == "moonshotai/kimi-k2"


def with_key(daily: Daily) -> Daily:
    """A shell on the same machine in which the key is set."""
    return Daily(daily.folder, {**daily.env, NAME: KEY}, daily.port)


def test_run_asks_the_provider_whose_key_is_set(daily: Daily, provider: Upstream) -> None:
    subprocess.run(["git", "init", "-q", str(daily.folder / "work")], check=True)
    words = ["run", "--no-record", "--", "exec", "What does this repository do?"]
    done = daily.run(*words)
    assert done.returncode == 0, done.stderr
    assert "offline demo model" in done.stdout and not provider.posts()
    (line,) = [line for line in done.stderr.splitlines() if "Model:" in line]
    assert line.startswith("interpose: Model: the offline demo, a script and no language model")
    assert NAME in line and "--model NAME" in line
    done = with_key(daily).run(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == SAID
    assert f"interpose: {CHOSEN}--model NAME, list: interpose model list\n" in done.stderr
    assert_asked(provider)
    # Codex knows it: it takes window and tools from the catalog.
    assert "metadata" not in done.stderr


def test_enable_sends_plain_codex_to_the_provider(once: Daily, provider: Upstream) -> None:
    """The daemon that ran knew the demo only; it is another after `enable`, and so it stays."""
    before, daily = once.daemon, with_key(once)
    done = daily.run("enable", "--keep-key")
    assert done.returncode == 0, done.stderr
    assert "Enabled: Codex asks for kimi-k2 through" in done.stdout
    assert f"{CHOSEN}interpose model use NAME, list: interpose model list\n" in done.stdout
    kept = once.state / "env"
    assert f"Kept for a daemon that starts without it: {NAME}, in {kept}\n" in done.stdout
    assert kept.stat().st_mode & 0o777 == 0o600 and "cannot answer" not in done.stdout
    assert daily.daemon != before
    assert_answered(daily.ask(), SAID)
    # Codex, and with it the daemon it starts, in an environment without the key.
    os.kill(once.daemon, signal.SIGKILL)
    assert_answered(once.ask(), SAID)
    # A name that nobody knows leads to the model that was chosen, not to the demo.
    assert SAID in once.ask("-m", "gpt-5.9-codex").stdout
    assert_asked(provider)
    assert "key " not in once.run("status").stdout
    done = once.run("disable")
    assert not kept.exists() and str(kept) in done.stdout
    assert once.config.read_bytes() == MINE
    assert KEY not in (once.state / "daemon.log").read_text()


@pytest.mark.full
def test_a_daemon_without_the_key_says_so_everywhere(once: Daily, provider: Upstream) -> None:
    done = with_key(once).run("enable")
    assert done.returncode == 0 and "interpose enable --keep-key" in done.stdout
    assert not (once.state / "env").exists()
    os.kill(once.daemon, signal.SIGKILL)
    done = once.ask()
    assert done.returncode == 1 and not provider.posts()
    assert f"{NAME}, which is not set where the chain runs; export it and run" in done.stdout
    assert "`interpose restart`" in done.stdout and "offline demo" not in done.stdout
    assert f"key     {NAME} is not set where the daemon runs\n" in once.run("status").stdout
    told = json.loads(once.run("status", "--json").stdout)
    assert told["codex"]["lacks"] == [f"{NAME} is not set"]
    # What counts is the daemon's environment, not that of this shell.
    listed = with_key(once).run("model", "list").stdout
    assert re.search(rf"^\* kimi-k2 .*, {NAME} is not set$", listed, re.M)
    assert re.search(r"^  demo .*low/high$|^  demo [^_]*$", listed, re.M)
    done = once.run("model", "use", "devstral")
    assert "devstral cannot answer yet: MISTRAL_API_KEY is not set where the daemon" in done.stdout
    done = once.run("enable", "--model", "kimi-k2")
    assert f"kimi-k2 cannot answer yet: {NAME} is not set where the daemon runs" in done.stdout
    # As it says: restarted where the key is.
    assert with_key(once).run("restart").returncode == 0
    assert_answered(once.ask(), SAID)


@pytest.mark.full
def test_enable_never_leads_to_the_demo_unasked(once: Daily) -> None:
    before = once.config.read_bytes()
    assert once.run("stop").returncode == 0
    for words in (("enable",), ("generate",)):
        done = once.run(*words)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        assert NAME in done.stderr and "--model demo for the demo" in done.stderr
    assert once.config.read_bytes() == before
    assert "daemon  does not run" in once.run("status").stdout
    done = once.run("enable", "--model", "demo")
    assert done.returncode == 0, done.stderr
    assert_answered(once.ask(), "offline demo model")
    # That was a choice: a key that comes later changes nothing.
    assert "Codex asks for demo through" in with_key(once).run("enable").stdout
    assert with_key(once).run("restart").returncode == 0
    assert_answered(once.ask(), "offline demo model")


def test_codex_with_a_home_of_ours(once: Daily, provider: Upstream) -> None:
    words = ["codex", "--", "exec", "--skip-git-repo-check", "hello"]
    done = once.run(*words)
    assert done.returncode == 0 and "offline demo model" in done.stdout, done.stderr
    assert "interpose: Model: the offline demo, a script and no" in done.stderr
    # The demo was nobody's choice, so the home does not keep it.
    done = with_key(once).run(*words)
    assert done.returncode == 0 and done.stdout.strip() == SAID, done.stderr
    assert f"interpose: {CHOSEN}--model NAME" in done.stderr
    assert_asked(provider)


def test_an_ensured_daemon_chooses_too(once: Daily, provider: Upstream) -> None:
    assert once.run("stop").returncode == 0
    done = with_key(once).run("ensure")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.count("\n") == 1
    headers = {"authorization": f"Bearer {done.stdout.strip()}"}
    body = {"model": "whatever", "messages": [{"role": "user", "content": "hello"}]}
    with httpx.Client(trust_env=False, base_url=f"http://127.0.0.1:{once.port}/v1") as client:
        assert client.post("/chat/completions", json=body, headers=headers).status_code == 200
        refused = client.post("/chat/completions", json=body, headers={"x-api-key": "any"})
        listed = client.get("/models", headers=headers).json()["data"]
    assert refused.status_code == 401 and "`interpose ensure` prints it" in refused.text
    assert listed[0]["id"] == "kimi-k2"
    assert_asked(provider)


def test_serve_prints_the_model_that_answers(daily: Daily, provider: Upstream) -> None:
    port, output = free_port(), daily.folder / "output.txt"
    process = with_key(daily).start("serve", "--port", str(port), "--no-record", output=output)
    try:
        poll(lambda: "listening at" in output.read_text(), 30, "the chain")
        said = output.read_text()
        assert f"# {CHOSEN}--model NAME" in said and 'model = "kimi-k2"\n' in said
        done = daily.run("serve", "--port", str(port))
        assert done.returncode == 1 and "; take another: --port " in done.stderr
        assert f"is in use by python3.12, process {process.pid} (a chain of Interpose);" in re.sub(
            r"python\S*,", "python3.12,", done.stderr
        )
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def test_one_upstream_without_a_policy_gets_the_name_that_was_given(place: Place) -> None:
    with Upstream([chat_text("named")]) as upstream:
        words = ["--no-record", "--reverse", f"{upstream.url}/v1", "--upstream", "chat"]
        rest = ["--", "exec", "--skip-git-repo-check", "hello"]
        done = place.run("run", *words, "--model", "vendor/any", *rest)
    assert done.returncode == 0 and done.stdout.strip() == "named", done.stderr
    assert {seen.json()["model"] for seen in upstream.posts()} == {"vendor/any"}
    place.assert_clean()


def shell(daily: Daily, lines: str) -> subprocess.CompletedProcess[str]:
    """Lines pasted into a shell that has `interpose` on its PATH."""
    bin = daily.folder / "bin"
    bin.mkdir(exist_ok=True)
    (bin / "interpose").write_text(f'#!/bin/sh\nexec {shlex.join(daily.command())} "$@"\n')
    (bin / "interpose").chmod(0o755)
    (bin / "codex").unlink(missing_ok=True)
    (bin / "codex").symlink_to(daily.env["CODEX_BIN"])
    return subprocess.run(
        ["sh", "-c", lines], cwd=daily.folder / "work",
        env={**daily.env, "PATH": f"{bin}:{daily.env['PATH']}"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_the_home_for_the_daemons_port_works_when_pasted(daily: Daily) -> None:
    daily.begin()
    printed = daily.run("home", "mine", "--port", str(daily.port)).stdout
    assert "INTERPOSE_KEY=any" not in printed and "(interpose start)" in printed
    done = shell(daily, printed.rstrip() + " exec --skip-git-repo-check hello")
    assert done.returncode == 0 and "offline demo model" in done.stdout, done.stderr
    # Another port is another chain's, which takes any key.
    other = daily.run("home", "other", "--port", str(free_port())).stdout
    assert "INTERPOSE_KEY=any\n" in other


def exports() -> list[object]:
    """The shell blocks of the page for clients and of the one for every day that set variables."""
    found = []
    for name in ("clients.md", "daily.md"):
        text = (ROOT / "docs" / name).read_text("utf-8")
        blocks = re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.M | re.S)
        # A provider's key is the reader's own.
        found += [(name, b) for b in blocks if "export " in b and f"export {NAME}" not in b]
    return [pytest.param(block, id=f"{name}-{n}") for n, (name, block) in enumerate(found)]


@pytest.mark.full
@pytest.mark.parametrize("block", exports())
def test_the_exports_of_the_pages_work_when_pasted(daily: Daily, block: str) -> None:
    daily.begin()
    lines = [line for line in block.splitlines() if line.startswith("export ")]
    done = shell(daily, "\n".join([*lines, "env"]).replace("8790", str(daily.port)))
    assert done.returncode == 0 and not done.stderr, done.stderr
    env = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    names = [re.split(r"[ =]", line)[1] for line in lines]
    (key,) = {env[name] for name in names if re.search("KEY|TOKEN$", name)}
    bases = [env[name] for name in names if re.search("BASE", name)]
    base = bases[0] if bases else f"http://127.0.0.1:{daily.port}/v1"
    hello = [{"role": "user", "content": "hello"}]
    with httpx.Client(trust_env=False) as client:
        if "ANTHROPIC" in block:
            name = "authorization" if "AUTH_TOKEN" in block else "x-api-key"
            headers = {name: f"Bearer {key}" if name == "authorization" else key}
            body = {"model": "demo", "max_tokens": 100, "messages": hello}
            answer = client.post(f"{base}/v1/messages", json=body, headers=headers)
        else:
            headers = {"authorization": f"Bearer {key}"}
            body = {"model": "demo", "messages": hello}
            answer = client.post(f"{base}/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200 and "offline demo model" in answer.text, answer.text


def test_a_free_port_is_offered_where_the_daemon_has_it(daily: Daily) -> None:
    daily.begin()
    done = daily.run("serve", "--port", str(daily.port))
    assert f"is in use by Interpose's daemon, process {daily.daemon}; take" in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = daily.run("restart", "--port", str(server.getsockname()[1]))
    assert done.returncode == 1 and f"process {os.getpid()})" in done.stderr, done.stderr


@pytest.mark.full
def test_the_last_lines_of_the_tour_are_true(place: Place) -> None:
    env = {**place.env, "UPSTREAM": "demo"}
    done = Place(place.folder, env).run("tour", "--record", str(place.folder / "flows"))
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.partition("Go on by hand\n")[2]
    lines = [shlex.split(line.partition("#")[0]) for line in last.splitlines()]
    for words in lines:
        program = Path(words[0])
        assert program.is_absolute() and os.access(program, os.X_OK), words
    run, serve, replay, web = lines
    # The same model again, though UPSTREAM was for the tour alone.
    assert run[1:] == ["run", "--model", "demo"] and serve[1:] == ["serve", "--web", *run[2:]]
    words = ["--no-record", "--", "exec", "--skip-git-repo-check", "hello"]
    again = subprocess.run(
        [*run, *words], cwd=place.folder / "work", env=place.env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert again.returncode == 0 and "offline demo model" in again.stdout, again.stderr
    same = subprocess.run(
        replay, cwd=place.folder / "work", env=place.env, capture_output=True, text=True, timeout=60
    )
    assert same.stdout.endswith("6 exchanges replayed, 0 different\n"), same.stdout + same.stderr
    dump = Path(web[0]).with_name("mitmdump")
    shown = subprocess.run(
        [str(dump), *web[1:], "--flow-detail", "1", "--set", f"confdir={place.folder}/conf"],
        cwd=place.folder / "work", env=place.env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert shown.returncode == 0 and "/v1/responses" in shown.stdout, shown.stderr
