"""A (fake) ChatGPT login: what the Codex backend gets of the real Codex, with and without a chain,
and what everybody else can do with that login."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomlkit
import zstandard

from shim.codex.catalog import catalog
from shim.policy.load import parse_policy
from tests.e2e.answers import SSE, json_answer
from tests.e2e.chain import ROOT, Chain
from tests.e2e.clients import CODEX, OLD_CODEX, client_env, codex_binary
from tests.e2e.login import ACCOUNT, REFRESH, log_in
from tests.e2e.tap import Tap
from tests.e2e.tls import Authority
from tests.e2e.upstreams import Answer, Seen, Upstream
from tests.everything import everything

POLICY = """
providers:
  chatgpt: { auth: chatgpt, protocol: responses }
models:
  gpt-5.5: { provider: chatgpt, context_window: 272000, reasoning: [low, high] }
  best: { provider: chatgpt, model: gpt-5.5, context_window: 272000, reasoning: [low, high] }
  plain: { provider: demo }
default: plain
"""
#: The config that docs/chatgpt.md shows.
CONFIG = re.findall(r"^```toml\n(.*?)^```$", (ROOT / "docs/chatgpt.md").read_text(), re.M | re.S)[0]


def events(item: dict[str, Any], model: str = "gpt-5.5") -> list[bytes]:
    """A streamed answer as the backend writes it, spaces and all."""
    head = {"id": "resp_1", "object": "response", "model": model}
    usage = {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}
    told = [
        {"type": "response.created", "response": {**head, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {**head, "usage": usage}},
    ]
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in told]


MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "All done.", "annotations": []}],
}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "exec_command",
    "arguments": '{"cmd":"echo looked"}',
}


ACCOUNTS = {
    "accounts": [
        {
            "id": ACCOUNT,
            "workspace_backend_origin": "NO_CONSTRAINT",
            "account_routing_override": "NO_CONSTRAINT",
            "plan_type": "plus",
            "structure": "personal",
        }
    ],
    "account_ordering": [ACCOUNT],
    "default_account_id": ACCOUNT,
}


def body_of(seen: Seen) -> dict[str, Any]:
    body = seen.body
    if seen.headers.get("content-encoding") == "zstd":
        body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
    return dict(json.loads(body))


def backend(seen: Seen) -> Answer:
    """The stand-in: one tool call, then a message."""
    if seen.method != "POST":
        return Answer(404, {}, [b"{}"])
    item = MESSAGE if "looked" in json.dumps(body_of(seen)["input"]) else CALL
    return Answer(200, {**SSE, "x-request-id": "req_1"}, events(item))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "codex-home"


@pytest.fixture(autouse=True)
def account(tmp_path: Path) -> Iterator[Upstream]:
    """What Codex asks chatgpt.com besides turns: whether the account may go its own way."""
    tls = Authority(tmp_path).context("127.0.0.1")
    with Upstream(lambda seen: json_answer(200, ACCOUNTS), tls) as upstream:
        (tmp_path / "account-url").write_text(f"{upstream.url}/backend-api")
        yield upstream


@pytest.fixture
def standin() -> Iterator[Upstream]:
    with Upstream(backend) as upstream:
        yield upstream


def chain_for(standin: Upstream, home: Path, policy: str = POLICY) -> Chain:
    env = {"CODEX_HOME": str(home), "OPENAI_API_BASE_URL": f"{standin.url}/backend-api/codex"}
    return Chain(policy=policy, env={**env, "HOME": str(home.parent), "USERPROFILE": ""})


def run_codex(
    home: Path, base_url: str, model: str, version: str = CODEX, **provider: Any
) -> subprocess.CompletedProcess[str]:
    """One `codex exec` with the config of the docs, and the login that is in ``home``."""
    listed = home / "models.json"
    listed.write_text(json.dumps(catalog(parse_policy(POLICY), ["gpt-5.5", "best"])))
    config = tomlkit.parse(CONFIG)
    config["model"] = model
    config["model_catalog_json"] = str(listed)
    config["chatgpt_base_url"] = (home.parent / "account-url").read_text()
    table = config["model_providers"]["interpose"]  # type: ignore[index]
    table |= {"base_url": base_url, **provider}  # type: ignore[operator]
    (home / "config.toml").write_text(tomlkit.dumps(config))
    words = ["exec", "--json", "--skip-git-repo-check"]
    words += ["--dangerously-bypass-approvals-and-sandbox", "-C", str(home.parent), "Look."]
    process = subprocess.Popen(
        [str(codex_binary(version)), *words],
        env={
            **client_env(home.parent),
            "CODEX_HOME": str(home),
            "CODEX_CA_CERTIFICATE": str(home.parent / "test-ca.pem"),
        },
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def posts(raw: bytes) -> list[tuple[str, list[tuple[str, str]], bytes]]:
    """The POSTs in what a client sent, byte for byte: path, headers, body."""
    found = []
    while (at := raw.find(b"POST /")) >= 0:
        head, _, rest = raw[at:].partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = [(k.lower(), v) for k, v in (line.split(": ", 1) for line in lines)]
        length = int(dict(headers)["content-length"])
        found.append((first.split(" ")[1], headers, rest[:length]))
        raw = rest[length:]
    return found


def arrived(seen: Seen) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in seen.headers.items()]


def without(headers: list[tuple[str, str]], *names: str) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name not in names]


_NEW = [
    (r"[0-9a-f]{8}-[0-9a-f-]{27,}", "ID"),
    (r"\b(msg|fc|rs)_\w+", "ID"),
    (r"Wall time: [\d.]+|Chunk ID: \w+", "…"),
    (r'(\w+(?:_time|_at|_ms|_unix\w*))(\\*)": ?[\d.]+', r'\1\2": 0'),
]


def shape(seen: Seen) -> tuple[Any, ...]:
    """A request without what is new in every session, and without the order of what has none."""
    body = body_of(seen)
    headers = dict(arrived(seen))
    turn = json.loads(headers.pop("x-codex-turn-metadata"))
    told = body["client_metadata"].pop("x-codex-turn-metadata", None)
    assert told is None or json.loads(told) == turn
    for name in ("host", "content-length"):
        headers.pop(name, None)
    said = json.dumps([headers, body, turn], sort_keys=True)
    for pattern, instead in _NEW:
        said = re.sub(pattern, instead, said)
    return tuple(json.loads(said))


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (CODEX, "OpenAI"),
        *(
            pytest.param(*case, marks=pytest.mark.full)
            for case in ((CODEX, "Interpose"), (OLD_CODEX, "OpenAI"), (OLD_CODEX, "Interpose"))
        ),
    ],
)
def test_requests_arrive_as_codex_sends_them(
    version: str, name: str, home: Path, standin: Upstream
) -> None:
    access = log_in(home)
    file = (home / "auth.json").read_bytes()
    direct = run_codex(home, f"{standin.url}/backend-api/codex", "gpt-5.5", version, name=name)
    assert direct.returncode == 0, direct.stdout + direct.stderr
    before = standin.posts()
    with chain_for(standin, home) as chain, Tap(chain.port) as tap:
        run = run_codex(home, tap.url, "gpt-5.5", version, name=name)
        received = tap.received
        recorded = b"".join(
            everything(path) for path in chain.record_dir.rglob("*") if path.is_file()
        )
        log = chain.log()
    assert run.returncode == 0 and "All done." in run.stdout, run.stdout + run.stderr
    got, sent = standin.posts()[len(before) :], posts(tap.sent)
    assert len(got) == len(sent) == len(before) == 2
    for seen, (path, headers, body) in zip(got, sent, strict=True):
        assert (seen.path, path) == ("/backend-api/codex/responses", "/v1/responses")
        # Byte for byte what this Codex sent, and in the order in which it did.
        assert seen.body == body
        assert without(arrived(seen), "host") == without(headers, "host")
        assert seen.headers["authorization"] == f"Bearer {access}"
        assert seen.headers["chatgpt-account-id"] == ACCOUNT
    # And what it sends without the chain.
    assert [shape(seen) for seen in got] == [shape(seen) for seen in before]
    if name == "OpenAI":
        assert {seen.headers["content-encoding"] for seen in got} == {"zstd"}
    for item in (CALL, MESSAGE):
        assert b"".join(events(item)) in unchunked(received)
    assert (home / "auth.json").read_bytes() == file
    for secret in (access, ACCOUNT, REFRESH):
        assert secret.encode() not in recorded and secret not in log


def unchunked(raw: bytes) -> bytes:
    """What was received, without the marks of chunked encoding."""
    return re.sub(rb"\r\n[0-9a-f]+\r\n(?=event: )|(?<=\r\n\r\n)[0-9a-f]+\r\n", b"", raw)


@pytest.mark.full
@pytest.mark.parametrize("asked", ["best", "openai-gpt-5-5-codex"])
def test_an_alias_is_the_only_thing_that_differs(
    asked: str, home: Path, standin: Upstream
) -> None:
    log_in(home)
    with chain_for(standin, home) as chain, Tap(chain.port) as tap:
        run = run_codex(home, tap.url, asked, name="OpenAI")
        received = tap.received
    assert run.returncode == 0 and "All done." in run.stdout, run.stdout + run.stderr
    for seen, (_, headers, body) in zip(standin.posts(), posts(tap.sent), strict=True):
        client = json.loads(zstandard.ZstdDecompressor().decompressobj().decompress(body))
        assert client["model"] == asked and body_of(seen) == {**client, "model": "gpt-5.5"}
        assert dict(headers)["x-codex-routing-hint"] == f"model={asked}"
        assert seen.headers["x-codex-routing-hint"] == "model=gpt-5.5"
        other = ("host", "content-length", "content-encoding", "x-codex-routing-hint")
        assert without(arrived(seen), *other) == without(headers, *other)
    for item in (CALL, MESSAGE):
        assert b"".join(events(item, asked)) in unchunked(received)
    assert "rerouted" not in run.stdout


def test_codex_without_a_login_uses_the_one_of_the_chain(
    home: Path, standin: Upstream, tmp_path: Path
) -> None:
    access = log_in(tmp_path / "other")
    home.mkdir()
    with chain_for(standin, tmp_path / "other") as chain:
        own = {"requires_openai_auth": False, "experimental_bearer_token": "any"}
        run = run_codex(home, chain.url, "gpt-5.5", **own)
    assert run.returncode == 0 and "All done." in run.stdout, run.stdout + run.stderr
    for seen in standin.posts():
        assert seen.headers.get_all("authorization") == [f"Bearer {access}"]
        assert seen.headers["chatgpt-account-id"] == ACCOUNT
        assert seen.headers["originator"] == "codex_exec"
        assert body_of(seen)["client_metadata"]


def lists(chain: Chain) -> list[list[str]]:
    """Every list of models there is."""
    openai = [model["id"] for model in chain.get("/v1/models").json()["data"]]
    codex = chain.get("/v1/models?client_version=0.169.0").json()["models"]
    return [openai, [m["slug"] for m in codex], chain.health()["policy"]["models"]]


def test_other_clients_and_after_logout(home: Path, standin: Upstream) -> None:
    access = log_in(home)
    chat = {"model": "best", "messages": [{"role": "user", "content": "looked"}]}
    with chain_for(standin, home) as chain:
        assert all({"gpt-5.5", "best", "plain"} <= set(names) for names in lists(chain))
        said = chain.post("/v1/chat/completions", json=chat).json()
        assert said["choices"][0]["message"]["content"] == "All done." and said["model"] == "best"
        said = chain.post("/v1/messages", json={**chat, "max_tokens": 99}).json()
        assert said["content"][0]["text"] == "All done." and said["model"] == "best"
        for seen in standin.posts():
            assert seen.headers["authorization"] == f"Bearer {access}"
            assert seen.headers["chatgpt-account-id"] == ACCOUNT
            assert seen.json()["stream"] is True and seen.json()["model"] == "gpt-5.5"
        asked = len(standin.posts())

        (home / "auth.json").unlink()
        assert all(set(names) == {"plain"} for names in lists(chain))
        told = chain.post("/v1/chat/completions", json=chat)
        assert told.status_code == 401 and "codex login" in told.json()["error"]["message"]
        assert len(standin.posts()) == asked

        second = log_in(home)
        assert all("best" in names for names in lists(chain))
        chain.post("/v1/chat/completions", json=chat)
        assert standin.posts()[-1].headers["authorization"] == f"Bearer {second}"


def test_compaction_by_its_path_is_the_backends_own(home: Path) -> None:
    answer = b'{"id": "c", "object": "response.compaction", "model": "gpt-5.5", "output": []}'
    log_in(home)
    request = {"model": "best", "input": [{"role": "user", "content": "hi"}]}
    with Upstream([Answer(200, {"content-type": "application/json"}, [answer])]) as standin:
        with chain_for(standin, home) as chain:
            done = chain.post(
                "/v1/responses/compact", json=request, headers={"originator": "codex_exec"}
            )
    (seen,) = standin.posts()
    assert seen.path == "/backend-api/codex/responses/compact"
    assert seen.json() == {**request, "model": "gpt-5.5"}
    assert done.content == answer.replace(b"gpt-5.5", b"best")


def test_a_refused_login(home: Path) -> None:
    body = b'{"error": {"message": "Your session has ended", "code": "token_expired"}}'
    refused = Answer(401, {"content-type": "application/json"}, [body])
    log_in(home)
    request = {"model": "gpt-5.5", "input": "hi", "stream": True}
    agent = {"originator": "codex_exec"}
    with Upstream([refused]) as standin, chain_for(standin, home) as chain:
        codex = chain.post("/v1/responses", json=request, headers=agent)
        other = chain.post("/v1/responses", json=request)
        # A Codex that brings the login renews it when it hears of the 401.
        brings = {**agent, "authorization": "Bearer own-token", "chatgpt-account-id": "own"}
        own = chain.post("/v1/responses", json=request, headers=brings)
        assert standin.posts()[-1].headers["authorization"] == "Bearer own-token"
    assert codex.status_code == 200 and b"response.failed" in codex.content
    for told in (codex, other):
        assert b"Your session has ended" in told.content and b"codex login" in told.content
    assert (other.status_code, own.status_code) == (401, 401)
    assert own.content == body


def test_the_login_goes_nowhere_else(home: Path, tmp_path: Path) -> None:
    """Not to a third party beside it, not for a stored response, not in clear text off loopback."""
    access = log_in(home)
    with Upstream([Answer(200, {"content-type": "application/json"}, [b"{}"])]) as third:
        other = f'  up: {{ base_url: "{third.url}/v1", protocol: responses, key: own }}\n'
        policy = POLICY.replace("models:\n", f"{other}models:\n  m: {{ provider: up }}\n", 1)
        with chain_for(third, home, policy) as chain:
            brings = {"authorization": f"Bearer {access}", "chatgpt-account-id": ACCOUNT}
            chain.post("/v1/responses", json={"model": "m", "input": "hi"}, headers=brings)
            chain.get("/v1/responses/resp_1", headers=brings)
            assert len(third.seen) == 2
            for seen in third.seen:
                assert access not in str(seen.headers) and ACCOUNT not in str(seen.headers)
        env = {"CODEX_HOME": str(home), "OPENAI_API_BASE_URL": "http://192.0.2.1/codex"}
        with Chain(policy=POLICY, env=env) as chain:
            said = chain.post("/v1/responses", json={"model": "best", "input": "hi"})
            assert said.status_code == 401 and "by https" in said.text
            assert access not in said.text + chain.log()


def test_a_websocket_is_refused_so_that_codex_posts(home: Path, standin: Upstream) -> None:
    log_in(home)
    with chain_for(standin, home) as chain:
        upgrade = {"upgrade": "websocket", "connection": "upgrade"}
        assert chain.get("/v1/responses", headers=upgrade).status_code == 426
        run = run_codex(home, chain.url, "gpt-5.5", supports_websockets=True)
    assert run.returncode == 0 and "All done." in run.stdout, run.stdout + run.stderr
    assert len(standin.posts()) == 2 and "Falling back" not in run.stdout


def test_the_config_of_the_docs_is_complete() -> None:
    table = tomllib.loads(CONFIG)["model_providers"]["interpose"]
    assert table["requires_openai_auth"] is True and "env_key" not in table
    assert httpx.URL(table["base_url"]).path == "/v1"
