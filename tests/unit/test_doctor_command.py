"""`interpose doctor` on a home made for it: real files, programs and ports of the loopback."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from shim.cli import main
from shim.codex.home import paste_lines
from shim.daemon.files import Files, Settings
from shim.doctor import gather, online, programs
from shim.doctor.clients import Client
from shim.doctor.sockets import health
from shim.policy.load import parse_policy

pytestmark = pytest.mark.slow

SECRET = "sk-" + "proj-9f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c"


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CODEX_HOME, with one codex on PATH, and nothing of this machine."""
    for name in list(os.environ):
        if name.lower().endswith(("_proxy", "_api_key")) or name in (
            "SSL_CERT_FILE", "CODEX_CA_CERTIFICATE", "CODEX_BIN", "INTERPOSE_POLICY"
        ):  # fmt: skip
            monkeypatch.delenv(name)
    # As the real one does, it leaves something in its home.
    program(tmp_path / "bin" / "codex", 'echo >"$CODEX_HOME/link"; echo codex-cli 0.169.0')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(programs, "local_folder", lambda: tmp_path / "nowhere")
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("CODEX_HOME", str(folder))
    monkeypatch.setenv("INTERPOSE_KEY", "any")
    monkeypatch.setenv("INTERPOSE_HOME", str(tmp_path / "state"))
    return folder


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = main(["doctor", "--json", *words])
    out, err = capsys.readouterr()
    assert not err
    told = json.loads(out)
    assert SECRET not in out and "\x1b" not in out
    assert told["failed"] == sum(f["level"] == "fail" for f in told["findings"])
    assert code == (1 if told["failed"] else 0)
    return code, told


def of(told: dict[str, Any], section: str) -> list[str]:
    return [f"{f['level']}: {f['text']}" for f in told["findings"] if f["section"] == section]


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_all_is_well_on_a_fresh_machine(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = str(free())
    began = time.monotonic()
    code, told = doctor(capsys, "--port", port, "--record", str(tmp_path / "a" / "b"))
    assert code == 0 and time.monotonic() - began < 4
    sections = list(dict.fromkeys(f["section"] for f in told["findings"]))
    assert sections == [s for s in gather.ORDER if s in sections] and len(sections) > 8
    assert (
        not (tmp_path / "a").exists()
        and not (tmp_path / "state").exists()
        and not list(home.iterdir())
    )
    assert main(["doctor", "--port", port]) == 0
    assert "All is well" in capsys.readouterr().out


def test_a_home_whose_chain_is_gone_fails_in_words_without_secrets(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free()
    text = (
        f'model_catalog_json = "gone.json"\n{paste_lines(f"http://127.0.0.1:{port}/v1", "m", True)}'
    )
    (home / "config.toml").write_text(text + f'experimental_bearer_token = "{SECRET}"\n')
    (home / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": SECRET}))
    (home / "auth.json").chmod(0o644)
    monkeypatch.setenv("HTTP_PROXY", f"http://me:{SECRET}@proxy.example:3128")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        f'providers: {{ p: {{ base_url: "http://x/v1", key: {SECRET} }} }}\nmodels: 5\n'
    )
    code, told = doctor(capsys, "--port", str(port), "--policy", str(policy))
    assert code == 1
    assert "nothing listens there" in of(told, "Config")[0]
    assert of(told, "Catalog") == [f"fail: {home}/gone.json is not there"]
    assert "other users may read" in of(told, "Login")[1]
    assert "does not reach the chain" in of(told, "Proxies")[-1]
    assert "is not there" in of(told, "Certificates")[0]
    assert "policy.yaml:2:1: models" in of(told, "Policy")[0]
    assert main(["doctor", "--port", str(port), "--policy", str(policy)]) == 1
    out = capsys.readouterr().out
    assert "things not working" in out and SECRET not in out and "→ start a chain there" in out


def test_what_hangs_or_is_huge_costs_its_own_section_only(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(home / "config.toml")
    with (home / "auth.json").open("wb") as file:
        file.truncate(100 << 20)
    os.mkfifo(tmp_path / "text.md")
    policy = tmp_path / "policy.yaml"
    policy.write_text("catch: [{inject: {file: text.md}}]\n")
    # A codex that hangs, with a child that holds its output open.
    program(tmp_path / "bin" / "codex", "/bin/sleep 60 & /bin/sleep 60")
    monkeypatch.setattr(gather, "PATIENCE", 2.5)
    began = time.monotonic()
    code, told = doctor(capsys, "--port", str(free()), "--policy", str(policy))
    assert code == 1 and time.monotonic() - began < 6
    assert "is no plain file" in of(told, "Config")[0]
    assert "100 MB" in of(told, "Login")[0]
    assert "within 2.5 s" in of(told, "Policy")[0]
    assert "does not answer within 1.5 s" in of(told, "Codex")[0]
    # Whoever waits at the FIFO is let go.
    os.close(os.open(tmp_path / "text.md", os.O_RDWR))


def test_a_codex_that_talks_without_end_is_ended(tmp_path: Path) -> None:
    endless = program(tmp_path / "codex", "while :; do echo codex-cli 0.169.0; done")
    broken = program(tmp_path / "broken", "")
    broken.write_bytes(b"\x7fELF")
    found = programs.asked([Client(endless, "PATH"), Client(broken, "PATH")])
    assert found[0].said.startswith("codex-cli 0.169.0") and len(found[0].said) <= 400
    assert "cannot be run" in found[1].problem


class Door(BaseHTTPRequestHandler):
    """Answers as its server says."""

    def do_GET(self) -> None:
        status = 401 if self.headers.get("authorization") == "Bearer bad" else 200
        body = json.dumps(self.server.page).encode()  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def door() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Door) as server:
        server.page = {"status": "ok", "recording": {}}  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_chain_and_another_program_are_told_apart(
    home: Path, door: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    port = door.server_port
    (home / "config.toml").write_text(paste_lines(f"http://127.0.0.1:{port}/v1", "m", True))
    code, told = doctor(capsys, "--port", str(port))
    assert code == 0 and of(told, "Port") == [
        f"ok: a chain answers at 127.0.0.1:{port}, policy none"
    ]
    door.page = []  # type: ignore[attr-defined]
    _, told = doctor(capsys, "--port", str(port))
    assert "another program" in of(told, "Port")[0]


def test_the_daemon_is_told_by_its_lock_and_its_file_of_keys_is_used(
    home: Path, door: HTTPServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Files()
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        'providers: { p: { base_url: "http://x/v1", key: "${P_KEY}" } }\n'
        "models: { m: { provider: p } }\ndefault: m\n"
    )
    files.make()
    files.environment.write_text(f"# keys\nP_KEY='{SECRET}'\n")
    files.environment.chmod(0o644)
    files.alive.take()
    files.sign(Settings(str(policy), door.server_port))
    try:
        _, told = doctor(capsys)
        assert of(told, "Daemon")[0].startswith(f"ok: process {os.getpid()} on 127.0.0.1")
        assert "other users may read" in of(told, "Daemon")[1]
        assert of(told, "Policy") == [f"ok: {policy}: 1 models, default m"]
        door.page = []  # type: ignore[attr-defined]
        code, told = doctor(capsys)
        assert code == 1 and "does not answer" in of(told, "Daemon")[0]
    finally:
        files.alive.release()
    files.environment.write_text("no line\n")
    _, told = doctor(capsys)
    assert "line 1 of its file env" in of(told, "Daemon")[-1]


def test_a_port_that_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        answer = health(server.getsockname()[1])
        assert answer.listens and not answer.raw and time.monotonic() - began < 3
    assert not health(free()).listens


def test_online_asks_the_providers_whose_key_is_set(door: HTTPServer) -> None:
    url = f"http://127.0.0.1:{door.server_port}/v1"
    policy = parse_policy(f"""
providers:
  good: {{ base_url: "{url}", key: "${{GOOD}}" }}
  bad: {{ base_url: "{url}", key: "${{BAD}}" }}
  dead: {{ base_url: "http://127.0.0.1:{free()}/v1" }}
  keyless: {{ base_url: "{url}", key: "${{NONE}}" }}
models: {{ m: {{ provider: good }} }}
default: m
""")
    steps: list[tuple[int, int]] = []
    env = {"GOOD": "good", "BAD": "bad"}
    found = asyncio.run(online.reach(policy, env, lambda n, of: steps.append((n, of))))
    assert [r.name for r in found] == ["good", "bad", "dead"]
    assert [r.status for r in found] == [200, 401, 0] and found[2].why
    assert steps == [(1, 3), (2, 3), (3, 3)]
    levels = [f.level for f in online.providers(found, policy)]
    assert levels == ["ok", "warn", "warn"]
