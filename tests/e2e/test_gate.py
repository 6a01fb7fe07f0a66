"""The gate of a chain started the way people start it: who is let in, and what a bad start says."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.answers import chat_text
from tests.e2e.chain import ROOT, Chain, poll, start_that_fails
from tests.e2e.listening import beyond_loopback, listening
from tests.e2e.upstreams import Upstream

DEFAULT = ROOT / "policies" / "default.yaml"
TURN = {"model": "m", "input": "hello"}


@pytest.fixture(scope="module", params=["mitmdump", "mitmweb"])
def chain(request: pytest.FixtureRequest) -> Iterator[Chain]:
    """Started in a folder of its own, without --listen-host."""
    with Chain(policy=DEFAULT, tool=request.param, listen_host=None) as running:
        yield running


def test_listens_on_loopback_only(chain: Chain) -> None:
    assert chain.port in {port for _, port in listening(chain.pid)}
    assert not beyond_loopback(chain.pid)


def test_health(chain: Chain) -> None:
    answer = chain.get("/health")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["status"] == "ok"


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/responses"])
def test_foreign_host_is_refused(chain: Chain, path: str) -> None:
    """A page in the user's browser must not reach the proxy by a name it made point to loopback."""
    headers = {"host": "evil.example"}
    if path.endswith("responses"):
        answer = chain.post(path, json=TURN, headers=headers)
    else:
        answer = chain.get(path, headers=headers)
    assert answer.status_code == 403
    assert "evil.example" in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_loopback_names_are_let_in(chain: Chain, host: str) -> None:
    assert chain.get("/health", headers={"host": f"{host}:{chain.port}"}).status_code == 200


def test_a_host_by_its_name() -> None:
    with Chain(options={"served_hosts": "box.example"}) as running:
        assert running.get("/health", headers={"host": "box.example:8080"}).status_code == 200
        assert running.get("/health", headers={"host": "evil.example"}).status_code == 403


def test_unknown_path_is_404(chain: Chain) -> None:
    answer = chain.post("/v1/nonsense", json={})
    assert answer.status_code == 404
    assert "/v1/nonsense" in answer.json()["error"]["message"]


def test_websocket_upgrade_is_426(chain: Chain) -> None:
    headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    answer = chain.get("/v1/responses", headers=headers)
    assert answer.status_code == 426
    assert answer.json()["error"]["message"]


def test_models_for_openai_clients(chain: Chain) -> None:
    listed = chain.get("/v1/models").json()
    assert listed["object"] == "list"
    assert all(model["object"] == "model" and model["id"] for model in listed["data"])


def test_models_for_codex(chain: Chain) -> None:
    answer = chain.get("/v1/models", params={"client_version": "0.169.0"})
    assert answer.status_code == 200
    assert answer.headers["etag"].startswith('"')
    models = answer.json()["models"]
    assert models and all(model["slug"] and model["base_instructions"] for model in models)
    again = chain.get("/v1/models", params={"client_version": "0.169.0"})
    assert again.headers["etag"] == answer.headers["etag"]


def test_broken_body_is_a_400(chain: Chain) -> None:
    for body in (b"{", b"[]", b'{"model": 3}', b"\xff"):
        answer = chain.post(
            "/v1/responses", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400, (body, answer.text)
        assert answer.json()["error"]["message"]


def test_stops_cleanly_and_leaves_no_listener() -> None:
    with Chain() as chain:
        assert chain.stop() == 0
        assert "Traceback" not in chain.log()
        assert_closed(chain.port)


def assert_closed(port: int) -> None:
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


BAD = """providers:
  local: { base_url: "http://127.0.0.1:9/v1", protocol: chat }
models:
  llama: { provider: locla }
"""


@pytest.mark.parametrize("tool", ["mitmdump", "mitmweb"])
def test_bad_policy_at_start_is_one_line(tool: str) -> None:
    done, port = start_that_fails(BAD, tool=tool)
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert "Traceback" not in output
    (line,) = [line for line in output.splitlines() if "bad.yaml" in line]
    assert "bad.yaml:4" in line
    assert "locla" in line and "local" in line.replace("locla", "")
    assert_closed(port)


def test_missing_policy_file_is_one_line() -> None:
    done, _ = start_that_fails(options={"policy": "/nowhere/policy.yaml"})
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert "Traceback" not in output
    assert "/nowhere/policy.yaml" in output


@pytest.mark.parametrize("tool", ["mitmdump", "mitmweb"])
def test_remote_without_client_keys_does_not_start(tool: str) -> None:
    done, port = start_that_fails(options={"allow_remote": "true"}, tool=tool, listen_host=None)
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert "allow_remote" in output and "client_keys" in output
    assert "Traceback" not in output
    assert_closed(port)


def test_client_keys() -> None:
    """A request needs one of the keys, and the provider gets the client's other one, not that."""
    good = [
        {"authorization": "Bearer key-one"},
        {"x-api-key": "key-two"},
        {"authorization": "Bearer sk-own", "x-api-key": "key-two"},
    ]
    bad = [{}, {"authorization": "Bearer key-three"}, {"x-api-key": "key-three"}]
    keys, options = ["key-one", "key-two"], {"upstream": "chat"}
    with Upstream([chat_text("hello")]) as upstream:
        with Chain(upstream.url, options=options, keys=keys) as chain:
            for headers in bad:
                refused = chain.post("/v1/responses", json=TURN, headers=headers)
                assert refused.status_code == 401
                assert "key-" not in refused.text
                assert chain.get("/v1/models", headers=headers).status_code == 401
            assert not upstream.seen
            for headers in good:
                answer = chain.post("/v1/responses", json=TURN, headers=headers)
                assert answer.status_code == 200
    sent = [str(post.headers) for post in upstream.posts()]
    assert len(sent) == len(good)
    assert not [headers for headers in sent if "key-" in headers]
    assert "Bearer sk-own" in sent[2]


def test_body_limit() -> None:
    with Chain(options={"body_limit": "10k"}) as chain:
        try:
            answer = chain.post("/v1/responses", json={"model": "m", "input": "x" * 20_000})
        except httpx.TransportError as e:
            pytest.fail(f"the connection broke instead of a 413: {e}")
    assert answer.status_code == 413
    assert answer.json()["error"]["message"]


def test_policy_edit_takes_effect_and_a_broken_one_does_not(tmp_path: Path) -> None:
    with Upstream([chat_text("one")]) as one, Upstream([chat_text("two")]) as two:

        def policy(url: str) -> str:
            return (
                f'providers: {{ p: {{ base_url: "{url}/v1", protocol: chat }} }}\n'
                "models: { m: { provider: p } }\n"
            )

        def answer() -> str:
            response = running.post("/v1/responses", json=TURN)
            return str(response.json()["output"][-1]["content"][0]["text"])

        with Chain(policy=policy(one.url)) as running:
            assert answer() == "one"
            running.policy_file.write_text(policy(two.url))
            assert answer() == "two"
            running.policy_file.write_text(policy(one.url) + "modles: {}\n")
            assert answer() == "two"
            health = running.health()
            assert "policy.yaml:3" in str(health) and "modles" in str(health)
            assert "modles" in poll(lambda: "modles" in running.log() and running.log())
            running.policy_file.write_text(policy(one.url))
            assert answer() == "one"
            assert "modles" not in str(running.health())
