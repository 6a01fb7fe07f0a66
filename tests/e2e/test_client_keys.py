"""Client keys of a real chain: the file that is read again, what commands know, who sees a key."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.answers import chat_text, responses_text
from tests.e2e.chain import Chain, poll, start_that_fails
from tests.e2e.daily import Daily
from tests.e2e.test_websocket import Client, create
from tests.e2e.upstreams import Upstream
from tests.everything import everything

KEY, OTHER = "planted-client-key-7fQ2xY93kd", "planted-client-key-of-another"
WRONG = "planted-wrong-key-0badc0ffee99"
INTERPOSE = Path(sys.executable).parent / "interpose"
POLICY = """
websocket: true
providers: { up: { base_url: "URL/v1", protocol: chat } }
models: { m: { provider: up } }
default: m
"""
TURN = {"model": "m", "input": "hello"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream([chat_text("hello")]) as made:
        yield made


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n{OTHER}\n")
    return file


def statuses(chain: Chain, key: str) -> tuple[int, int, int]:
    """What a key gets: a page, the models, a turn."""
    headers = {"x-api-key": key}
    paths = [chain.get(path, headers=headers).status_code for path in ("/metrics", "/v1/models")]
    return *paths, chain.post("/v1/responses", json=TURN, headers=headers).status_code


@pytest.mark.full
def test_the_file_is_followed(upstream: Upstream, keys: Path) -> None:
    env = {"INTERPOSE_CLIENT_KEYS_FILE": str(keys)}
    with Chain(policy=POLICY.replace("URL", upstream.url), env=env) as chain:
        assert statuses(chain, KEY) == statuses(chain, OTHER) == (200, 200, 200)
        assert statuses(chain, "") == statuses(chain, WRONG) == (401, 401, 401)

        def gets(key: str, status: int) -> None:
            poll(lambda: statuses(chain, key) == (status,) * 3, 5, f"{status} for {key}")

        fresh = keys.with_name("fresh")
        fresh.write_text(f"{WRONG} {KEY}")
        fresh.replace(keys)
        gets(OTHER, 401)
        assert statuses(chain, KEY) == statuses(chain, WRONG) == (200, 200, 200)
        keys.unlink()
        poll(lambda: chain.health()["status"] == "degraded", 5, "that it is said")
        assert chain.health() == {"status": "degraded"}, "to strangers nothing else"
        told = chain.get("/health", headers={"x-api-key": KEY}).json()
        assert "cannot be read: No such file" in told["client_keys"]["error"]
        assert statuses(chain, KEY) == (200, 200, 200)
        keys.write_text("")
        gets(KEY, 401)
        assert chain.health() == {"status": "ok"}
        keys.write_text(KEY)
        gets(KEY, 200)
        assert "client keys read again" in chain.log() and KEY not in chain.log()


def test_a_websocket_ends_with_its_key(upstream: Upstream, keys: Path) -> None:
    env = {"INTERPOSE_CLIENT_KEYS_FILE": str(keys)}
    with Chain(policy=POLICY.replace("URL", upstream.url), env=env) as chain:
        with (
            Client(chain, ("authorization", f"Bearer {OTHER}")) as gone,
            Client(chain, ("x-api-key", KEY)) as stays,
        ):
            assert gone.events(create("one"))[-1]["type"] == "response.completed"
            keys.write_text(KEY)
            closed = gone.receive()
            assert (closed.code, closed.reason) == (1008, "the client key is not valid any more")
            assert stays.events(create("two"))[-1]["type"] == "response.completed"
        assert "Traceback" not in chain.log()


@pytest.mark.parametrize("broken", ["gone", "bytes"])
def test_a_file_that_is_bad_at_the_start_is_one_line(
    keys: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERPOSE_CLIENT_KEYS_FILE", str(keys))
    keys.unlink() if broken == "gone" else keys.write_bytes(b"\xff\xfe")
    done, _ = start_that_fails()
    output = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in output
    assert f"INTERPOSE_CLIENT_KEYS_FILE: {keys} cannot be read" in output
    monkeypatch.delenv("INTERPOSE_CLIENT_KEYS_FILE")
    done, _ = start_that_fails(options={"trusted_proxies": "proxy.lan"})
    assert done.returncode == 1 and "trusted_proxies: 'proxy.lan' is no address" in done.stderr


def secrets_shown(chain: Chain) -> list[str]:
    """Sign in and open pages in every way; the cookie's and the code's secrets, and the keys."""
    form = {"origin": chain.origin, "accept": "text/html"}
    done = chain.post("/login", data={"key": KEY, "next": "/picker"}, headers=form)
    assert done.status_code == 303, done.text
    cookie = done.headers["set-cookie"].partition(";")[0]
    wrong = chain.post("/login", data={"key": WRONG}, headers=form)
    assert wrong.status_code == 401
    path = chain.post("/api/login-code", json={}, headers={"x-api-key": KEY}).json()["path"]
    assert chain.get(path).status_code == 303
    assert chain.get(path).status_code == 401
    for proof in ({"cookie": cookie}, {"x-api-key": KEY}, {"authorization": f"Bearer {OTHER}"}):
        for page in (
            "/picker",
            "/dashboard",
            "/health?live=1",
            "/health",
            "/metrics",
            "/api/models",
        ):
            assert chain.get(page, headers=proof).status_code == 200
    # Refused in every way.
    for headers in (
        {"host": "evil.example"},
        {"origin": "https://evil.example"},
        {"x-api-key": KEY},
    ):
        chain.post("/login", data={"key": KEY}, headers={**form, **headers})
        chain.post("/login", content=f"key={KEY}", headers={**form, **headers})
        chain.post("/nonsense", content=f"key={KEY}", headers={"x-api-key": WRONG, **headers})
        chain.get(f"/dashboard?key={KEY}", headers=headers)
        chain.post(
            "/v1/responses", json=TURN, headers={"authorization": f"Bearer {WRONG}", **headers}
        )
    chain.get("/v1/models", headers={"cookie": cookie})
    turn = {"model": "m", "input": f"is {KEY} a key?"}
    assert chain.post("/v1/responses", json=turn, headers={"x-api-key": KEY}).status_code == 200
    found = re.search(r"token=([\w.-]+)", path)
    assert found
    return [KEY, OTHER, WRONG, cookie.partition("=")[2], found[1]]


class Updates:
    """What mitmweb tells those who look at its list, as it tells it: from begin to end."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        asks = (
            f"GET /updates?token=look HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        self._socket.sendall(asks.encode())
        self.told = self._socket.recv(65536)
        assert b" 101 " in self.told
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            while piece := self._socket.recv(65536):
                self.told += piece
        except OSError:
            pass

    def end(self) -> bytes:
        self._thread.join(20)
        self._socket.close()
        return self.told


@pytest.mark.full
@pytest.mark.parametrize("tool", ["mitmdump", "mitmweb"])
def test_nobody_sees_or_saves_a_key(upstream: Upstream, keys: Path, tool: str) -> None:
    env = {"INTERPOSE_CLIENT_KEYS_FILE": str(keys)}
    saved = keys.with_name("saved.flow")
    options = {"save_stream_file": str(saved)}
    options |= (
        {"web_password": "look", "view_keep": "0"} if tool == "mitmweb" else {"flow_detail": "3"}
    )
    policy = POLICY.replace("URL", upstream.url)
    with Chain(policy=policy, options=options, env=env, tool=tool) as chain:
        updates = Updates(chain.web_port) if tool == "mitmweb" else None
        open_socket = Client(chain, ("authorization", f"Bearer {KEY}"), ("x-api-key", OTHER))
        assert open_socket.events(create("one"))[-1]["type"] == "response.completed"
        secrets = secrets_shown(chain)
        shown = b""
        if updates:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{chain.web_port}", trust_env=False
            ) as web:
                asks = {"token": "look"}
                flows = web.get("/flows", params=asks)
                parts = [flows.content, web.get("/options", params=asks).content]
                for flow in flows.json():
                    for part in ("request", "response"):
                        at = f"/flows/{flow['id']}/{part}/content.data"
                        parts.append(web.get(at, params=asks).content)
                paths = [flow["request"]["path"] for flow in flows.json()]
                assert "/login" in paths and "/picker" in paths and len(parts) > 20
                shown = b"\n".join(parts)
        assert chain.stop() == 0
        assert b"[redacted]" in everything(saved)
        places = {"the log": chain.log().encode(), "-w": everything(saved), "mitmweb": shown}
        if updates:
            places["mitmweb's updates"] = updates.end()
            assert places["mitmweb's updates"].count(b"flows/add") > 20
        for path in chain.record_dir.rglob("*"):
            if path.is_file():
                places[path.name] = everything(path)
        assert len(places) > 4, "a turn was recorded"
        found = [
            (name, secret)
            for name, data in places.items()
            for secret in secrets
            if secret.encode() in data
        ]
        assert not found
        assert "Traceback" not in chain.log()


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INTERPOSE_")}
    return subprocess.run(
        [INTERPOSE, *words], capture_output=True, text=True, timeout=60,
        env={**kept, **env}, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def browser_at(folder: Path) -> tuple[Path, Path]:
    """A program that stands in for a browser, and the file in which it notes what it opens."""
    program, noted = folder / "browser", folder / "opened"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > {noted}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program, noted


@pytest.mark.full
def test_commands_find_the_key_of_a_chain(keys: Path, tmp_path: Path) -> None:
    home = {"INTERPOSE_HOME": str(tmp_path / "state")}
    with Chain(
        policy="models: { m: { provider: demo } }", env={"INTERPOSE_CLIENT_KEYS_FILE": str(keys)}
    ) as chain:
        top = ("top", "--once", "--url", chain.origin)
        opens = ("open", "picker", "--print", "--url", chain.origin)
        for env in (
            {"INTERPOSE_KEY": OTHER},
            {"INTERPOSE_CLIENT_KEYS_FILE": str(keys)},
            {"INTERPOSE_CLIENT_KEYS": KEY},
        ):
            done = run(*top, **home, **env)
            assert done.returncode == 0 and "sessions 0" in done.stdout, done.stderr
            done = run(*opens, **home, **env)
            assert done.returncode == 0, done.stderr
            assert re.fullmatch(rf"{chain.origin}/login\?token=[\w.-]+&next=/picker\n", done.stdout)
        with httpx.Client(trust_env=False, follow_redirects=True) as client:
            page = client.get(done.stdout.strip())
            assert page.status_code == 200 and page.url.path == "/picker"
        for words in (top, opens):
            for env in ({}, {"INTERPOSE_KEY": WRONG}):
                done = run(*words, **home, **env)
                assert done.returncode == 1 and not done.stdout and done.stderr.count("\n") == 1
                assert (
                    "needs one of its client keys" in done.stderr and "INTERPOSE_KEY" in done.stderr
                )
        assert WRONG not in chain.log()


@pytest.mark.full
def test_open_starts_the_browser_or_prints(tmp_path: Path) -> None:
    program, noted = browser_at(tmp_path)
    home = {"INTERPOSE_HOME": str(tmp_path / "state")}
    with Chain(policy="models: { m: { provider: demo } }", keys=[KEY]) as chain:
        words = ("open", "--url", chain.origin)
        done = run(*words, **home, INTERPOSE_KEY=KEY, BROWSER=f"{program} %s")
        assert done.stdout == f"Opened {chain.origin}/dashboard in the browser.\n", done.stderr
        assert re.fullmatch(
            rf"{chain.origin}/login\?token=[\w.-]+&next=/dashboard", noted.read_text()
        )
        with httpx.Client(trust_env=False, follow_redirects=True) as client:
            assert client.get(noted.read_text()).url.path == "/dashboard"
        nothing = {
            "PATH": str(tmp_path / "empty"),
            "BROWSER": "",
            "DISPLAY": "",
            "WAYLAND_DISPLAY": "",
        }
        done = run(*words, **home, INTERPOSE_KEY=KEY, **nothing)
        assert done.returncode == 0 and done.stdout.startswith(f"{chain.origin}/login?token=")
        assert "within a minute; it is good once" in done.stderr
    with Chain(policy="models: { m: { provider: demo } }") as chain:
        done = run("open", "picker", "--print", "--url", chain.origin, **home)
        assert done.stdout == f"{chain.origin}/picker\n"
    done = run("open", "--url", chain.origin, **home)
    assert (
        done.returncode == 1
        and "no chain answers at" in done.stderr
        and done.stderr.count("\n") == 1
    )


def test_the_daemons_key_is_known(daily: Daily) -> None:
    with Upstream([responses_text("done")]) as upstream:
        daily.begin(POLICY.replace("URL", upstream.url))
        url = f"http://127.0.0.1:{daily.port}"
        with httpx.Client(trust_env=False, base_url=url, follow_redirects=True) as client:
            assert client.get("/health").json() == {"status": "ok"}
            for path in ("/picker", "/dashboard", "/metrics", "/health?live=1", "/api/models"):
                assert client.get(path).status_code == 401
            done = daily.run("open", "picker", "--print")
            assert done.returncode == 0, done.stderr
            assert client.get(done.stdout.strip()).url.path == "/picker"
            assert client.get("/health?live=1").json()["live"]
        assert json.loads(daily.run("top", "--once", "--json").stdout)["live"]
        # A broken edit of the policy: status says so, which it reads off a page that wants the key.
        daily.policy("models: {")
        poll(lambda: "keeps an older policy" in daily.run("status").stdout, 20, "the trouble")
        done = daily.run("doctor")
        assert (
            "keeps an older policy" in done.stdout
            and f"a chain answers at 127.0.0.1:{daily.port}" in done.stdout
        )
        log = (daily.state / "daemon.log").read_text()
        assert daily.run("ensure").stdout.strip() not in log and "token=" not in log
