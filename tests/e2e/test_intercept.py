"""`interpose run --intercept`: the real Codex with its own config, over TLS and HTTP/2 as on the
internet, recorded and under a policy; and what a forward proxy must not do."""

from __future__ import annotations

import json
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard
from mitmproxy.io import FlowReader

from shim.cli.chain import Chain as OwnChain
from shim.cli.chain import Options
from shim.cli.intercept import trust
from tests.e2e.answers import SSE, json_answer
from tests.e2e.chain import NOWHERE, Chain, free_port, poll
from tests.e2e.clients import OLD_CODEX, codex_binary
from tests.e2e.h2server import H2Server
from tests.e2e.login import ACCOUNT, log_in
from tests.e2e.place import Place
from tests.e2e.test_chatgpt import ACCOUNTS, CALL, MESSAGE, body_of, events
from tests.e2e.test_wayout import connect_proxy
from tests.e2e.tls import Authority
from tests.e2e.upstreams import Answer, Seen, Upstream
from tests.everything import everything

KEY = "sk-own-0123456789abcdef"
RESPONSES = {"login": "/backend-api/codex/responses", "key": "/v1/responses"}
HOSTS = {"login": "chatgpt.com", "key": "api.openai.com"}


def world(seen: Seen) -> Answer:
    """All of api.openai.com and chatgpt.com that Codex needs."""
    if seen.path.endswith("/wham/accounts/check"):
        return json_answer(200, ACCOUNTS)
    if seen.method != "POST" or not seen.path.endswith("/responses"):
        return json_answer(404, {"detail": "not found"})
    item = MESSAGE if "looked" in json.dumps(body_of(seen)["input"]) else CALL
    return Answer(200, SSE, events(item))


class World:
    """A machine whose way to the internet is a proxy, behind which a stand-in is all hosts."""

    def __init__(self, place: Place, server: H2Server, proxy: int, authority: Authority) -> None:
        self.server, self.authority = server, authority
        own = {
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy}",
            "HTTP_PROXY": f"http://127.0.0.1:{proxy}",
            "SSL_CERT_FILE": str(authority.pem),
            "CODEX_HOME": str(place.folder / "own-home"),
        }
        self.place = Place(place.folder, {**place.env, **own})
        self.home = place.folder / "own-home"

    def codex(self, kind: str, *options: str) -> Any:
        """The user's Codex through `interpose run --intercept`, with a login or a key."""
        self.log_in(kind)
        words = ["run", "--intercept", "--record", str(self.place.folder / "flows"), *options]
        return self.place.run(*words, "--", "codex", *self.words())

    def log_in(self, kind: str) -> None:
        log_in(self.home)
        if kind == "key":
            file = {"auth_mode": "apikey", "OPENAI_API_KEY": KEY, "tokens": None}
            (self.home / "auth.json").write_text(json.dumps(file))

    def words(self) -> list[str]:
        words = ["exec", "--json", "--skip-git-repo-check", "-m", "gpt-5.5"]
        words += ["--dangerously-bypass-approvals-and-sandbox"]
        return [*words, "-C", str(self.place.folder / "work"), "Look."]

    def turns(self, kind: str) -> list[Seen]:
        return self.server.posts(RESPONSES[kind])


@pytest.fixture
def net(place: Place) -> Iterator[World]:
    authority = Authority(place.folder)
    tls = authority.context("chatgpt.com", "api.openai.com", "api.github.com", alpn=("h2",))
    with H2Server(world, tls) as server, connect_proxy(server.port) as (proxy, _):
        yield World(place, server, proxy, authority)


def flows_of(place: Place) -> list[Any]:
    (path,) = (place.folder / "flows").glob("*.flow")
    with path.open("rb") as file:
        return list(FlowReader(file).stream())


@pytest.mark.parametrize("kind", ["login", pytest.param("key", marks=pytest.mark.full)])
@pytest.mark.parametrize("version", ["", pytest.param(OLD_CODEX, marks=pytest.mark.full)])
def test_an_untouched_codex_is_recorded(kind: str, version: str, net: World) -> None:
    if version:
        net.place.env["CODEX_BIN"] = str(codex_binary(version))
    policy = net.place.folder / "policy.yaml"
    policy.write_text("models: { plain: { provider: demo } }\ndefault: plain\n")
    net.log_in(kind)
    before = {path.name for path in net.home.iterdir()}
    done = net.codex(kind, "--policy", str(policy))
    assert done.returncode == 0 and "All done." in done.stdout, done.stdout + done.stderr
    assert "Reconnecting" not in done.stdout and "Falling back" not in done.stdout
    turns = net.turns(kind)
    assert len(turns) == 2 and before == {"auth.json"}
    for seen in turns:
        assert seen.headers["host"] == HOSTS[kind]
        assert body_of(seen)["model"] == "gpt-5.5" and body_of(seen)["client_metadata"]
        # As this client compresses: only with a ChatGPT login.
        assert (seen.headers["content-encoding"] == "zstd") == (kind == "login")
    flows = flows_of(net.place)
    assert len(flows) == 4
    client, upstream = flows[:2]
    assert client.request.http_version == upstream.request.http_version == "HTTP/2.0"
    # What was not packed already is so in the file.
    assert turns[0].body in (upstream.request.raw_content, upstream.request.content)
    assert (client.request.host, client.request.path) == (HOSTS[kind], RESPONSES[kind])
    assert b"".join(events(CALL)) in client.response.content
    held = b"".join(everything(p) for p in (net.place.folder / "flows").rglob("*") if p.is_file())
    secrets = [KEY, ACCOUNT, turns[0].headers["authorization"].split()[1]]
    assert not [secret for secret in secrets if secret.encode() in held]
    net.place.assert_clean()


@pytest.mark.full
def test_it_stands_under_the_policy(net: World) -> None:
    """Another model answers for one name, and the prompt is changed on its way to the rest."""
    policy = net.place.folder / "policy.yaml"
    policy.write_text(
        "catch:\n  - { when: { role: user }, replace: { text: 'Look.', with: 'Just look.' } }\n"
    )
    done = net.codex("login", "--policy", str(policy))
    assert done.returncode == 0 and "All done." in done.stdout, done.stdout + done.stderr
    assert all("Just look." in json.dumps(body_of(seen)) for seen in net.turns("login"))
    sent = len(net.turns("login"))
    policy.write_text("models: { gpt-5.5: { provider: demo } }\ndefault: gpt-5.5\n")
    done = net.codex("login", "--policy", str(policy))
    assert done.returncode == 0 and "All done." not in done.stdout, done.stdout + done.stderr
    assert '"agent_message"' in done.stdout and len(net.turns("login")) == sent


def test_connect_is_for_a_forward_proxy_alone() -> None:
    with Chain() as chain, httpx.Client(proxy=chain.origin, trust_env=False) as client:
        with pytest.raises(httpx.ProxyError, match="400"):
            client.get("https://chatgpt.com/")
        assert "Traceback" not in chain.log()


def test_the_key_of_the_ca_is_for_nobody() -> None:
    with OwnChain(Options(None, NOWHERE, None, None, "", intercept=True)) as chain:
        folder = chain.folder
        keys = private(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert keys and all(stat.S_IMODE(key.stat().st_mode) == 0o600 for key in keys)
        assert b"PRIVATE" not in trust(chain).read_bytes()
    assert not folder.exists()


def test_the_ca_goes_however_the_command_ends(place: Place) -> None:
    """The command is killed, and nobody is left to tidy up but the chain."""
    place.env["CODEX_BIN"] = str(waits := place.folder / "codex")
    waits.write_text("#!/bin/sh\nexec sleep 60\n")
    waits.chmod(0o700)
    process = place.start("run", "--intercept", "--no-record", output=place.folder / "out.txt")
    poll(lambda: any("sleep 60" in line for line in place.processes().values()), 30, "a session")
    assert private(place.folder / "tmp")
    process.kill()
    process.wait(10)
    poll(lambda: not private(place.folder / "tmp"), 10, "the end of the CA")


def private(folder: Path) -> list[Path]:
    """The files below ``folder`` that hold a private key."""
    found = []
    for path in folder.rglob("*"):
        try:
            if path.suffix == ".pem" and b"PRIVATE" in path.read_bytes():
                found.append(path)
        except FileNotFoundError:
            continue
    return found


def test_no_proxy_is_not_overlooked(place: Place) -> None:
    place.env["NO_PROXY"] = "example.org,.openai.com"
    done = place.run("run", "--intercept", "--no-record", "--", "--version")
    assert done.returncode == 1 and "NO_PROXY lets api.openai.com go past" in done.stderr
    assert "Traceback" not in done.stderr
    done = place.run("run", "--intercept", "--reverse", "http://127.0.0.1:9", "--", "--version")
    assert done.returncode == 1 and "--reverse" in done.stderr


@pytest.fixture
def proxied(net: World) -> Iterator[tuple[Chain, Callable[..., httpx.Client]]]:
    """A chain that has a forward proxy alone, and clients that go by way of it."""
    env = {name: net.place.env[name] for name in ("HTTPS_PROXY", "HTTP_PROXY", "SSL_CERT_FILE")}
    port = free_port()
    with Chain(env=env, mode=f"regular@{port}", port=port) as chain:
        made: list[httpx.Client] = []

        def client(ca: Path) -> httpx.Client:
            context = ssl.create_default_context(cafile=ca)
            made.append(
                httpx.Client(
                    proxy=chain.origin, verify=context, http2=True, trust_env=False, timeout=20
                )
            )
            return made[-1]

        yield chain, client
        for each in made:
            each.close()


TURN = {"model": "m", "stream": True, "input": "looked"}


def test_regular_mode_alone(net: World, proxied: tuple[Chain, Callable[..., httpx.Client]]) -> None:
    chain, client = proxied
    ours = client(chain.folder / "conf" / "mitmproxy-ca-cert.pem")
    url = "https://api.openai.com/v1/responses"
    answer = ours.post(url, json=TURN, headers={"authorization": f"Bearer {KEY}"})
    assert answer.content == b"".join(events(MESSAGE))
    packed = zstandard.ZstdCompressor().compress(json.dumps(TURN).encode())
    answer = ours.post(url, content=packed, headers={"content-encoding": "zstd"})
    assert answer.content == b"".join(events(MESSAGE))
    plain, zstd = net.turns("key")
    assert plain.json() == TURN and zstd.body == packed
    assert plain.headers["authorization"] == f"Bearer {KEY}"

    refused = ours.get(url, headers={"upgrade": "websocket", "connection": "upgrade"})
    assert refused.status_code == 426
    # What is no turn passes, and is in no recording.
    assert ours.get("https://api.openai.com/v1/files").json() == {"detail": "not found"}
    rows = poll(lambda: chain.get("/health?exchanges=1").json()["exchanges"], 10, "rows")
    assert len(rows) == 2 and len(net.server.seen) == 3


def test_a_host_without_models_is_not_looked_into(
    net: World, proxied: tuple[Chain, Callable[..., httpx.Client]], tmp_path: Path
) -> None:
    _, client = proxied
    tls = net.authority.context("127.0.0.1")
    with Upstream(lambda seen: json_answer(200, {"path": seen.path}), tls) as other:
        with Upstream(lambda seen: json_answer(200, {"plain": seen.path})) as clear:
            theirs = client(net.authority.pem)
            # With the certificate of its own, which the chain's CA has not signed.
            assert theirs.get(f"{other.url}/v1/responses").json() == {"path": "/v1/responses"}
            assert theirs.get(f"{clear.url}/x").json() == {"plain": "/x"}
            done = theirs.post(f"{clear.url}/v1/responses", content=b"x" * 3_000_000)
            assert done.json() == {"plain": "/v1/responses"}
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE"):
        client(net.authority.pem).get("https://chatgpt.com/")


def test_the_chains_own_pages_have_their_guards(
    proxied: tuple[Chain, Callable[..., httpx.Client]],
) -> None:
    chain, _ = proxied
    assert chain.get("/health").json()["status"] == "ok"
    # A web page whose name was made to lead here, and one of another site.
    rebound = {"host": f"evil.example:{chain.port}"}
    assert chain.get("/health", headers=rebound).status_code == 403
    assert chain.post("/v1/responses", json=TURN, headers=rebound).status_code == 403
    page = {"origin": "http://evil.example"}
    assert chain.get("/health", headers=page).status_code == 403
    assert chain.post("/v1/responses", json=TURN, headers=page).status_code == 403
    assert chain.get("/elsewhere").status_code == 404
    told = chain.post("/v1/responses", json=TURN)
    assert told.status_code == 404 and "forward proxy" in told.json()["error"]["message"]
    assert "Traceback" not in chain.log()


def test_other_machines_and_client_keys(net: World) -> None:
    port = free_port()
    options = {"allow_remote": "true"}
    with Chain(mode=f"regular@{port}", port=port, keys=["a-client-key"], options=options) as chain:
        with httpx.Client(proxy=chain.origin, verify=False, trust_env=False) as client:
            assert client.get("http://127.0.0.1:9/").status_code == 403
            with pytest.raises(httpx.ProxyError, match="403"):
                client.get("https://chatgpt.com/")
