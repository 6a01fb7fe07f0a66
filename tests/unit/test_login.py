"""The ChatGPT login: where it is found, to whom it is sent, what is offered with and without it."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.codex import catalog, login
from shim.codex.login import LoginError, backend, places
from shim.policy.load import examine, parse_policy
from shim.policy.schema import Provider
from shim.route import choose
from shim.route.decide import is_named, split_effort
from shim.wire.protocols import codec
from shim.wire.responses.named import Named
from shim.wire.translate import Translation
from tests.e2e.login import ACCOUNT, REFRESH, log_in, token

POLICY = parse_policy("""
providers:
  chatgpt: { auth: chatgpt, protocol: responses }
  up: { base_url: "http://127.0.0.1:9/v1" }
models:
  gpt-5.5: { provider: chatgpt }
  best: { provider: chatgpt, model: gpt-5.5 }
  small: { provider: up }
default: gpt-5.5
""")
CHATGPT = POLICY.providers["chatgpt"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CODEX_HOME", "OPENAI_CODEX_PATH", "USERPROFILE", "OPENAI_API_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".codex"


def test_the_places_in_their_order(tmp_path: Path) -> None:
    env = {
        "CODEX_HOME": "/one",
        "OPENAI_CODEX_PATH": "/two/auth.json",
        "HOME": "/three",
        "USERPROFILE": "/four",
    }
    found = ["/one", "/two", "/three/.codex", "/four/.codex"]
    assert places(env) == [Path(folder) / "auth.json" for folder in found]


@pytest.mark.parametrize("name", ["CODEX_HOME", "OPENAI_CODEX_PATH", "HOME", "USERPROFILE"])
def test_it_is_found_in_each_of_them(name: str, tmp_path: Path) -> None:
    home = tmp_path / ".codex"
    access = log_in(home)
    env = {name: str(home if name in ("CODEX_HOME", "OPENAI_CODEX_PATH") else tmp_path)}
    found = login.login(env)
    assert found and found.headers == {
        "authorization": f"Bearer {access}",
        "chatgpt-account-id": ACCOUNT,
    }
    assert REFRESH not in repr(found)


def test_a_login_comes_changes_and_goes(home: Path) -> None:
    assert login.login() is None
    first = log_in(home)
    assert login.login() == login.Login(first, ACCOUNT)
    second = log_in(home, token(7200, "other"))
    assert login.login() == login.Login(second, ACCOUNT) and first != second
    (home / "auth.json").unlink()
    assert login.login() is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        '{"tokens": null}',
        '{"tokens": []}',
        '{"tokens": {"access_token": ""}}',
        '{"tokens": {"access_token": 5}}',
        '{"tokens": {"access_token": "a\\r\\nx-evil: 1"}}',
        '{"auth_mode": "apikey", "OPENAI_API_KEY": "sk-1", "tokens": {"access_token": "a"}}',
        '{"OPENAI_API_KEY": "sk-1"}',
        "\x00\xff",
    ],
)
def test_what_is_no_login(text: str, home: Path) -> None:
    home.mkdir()
    (home / "auth.json").write_text(text, encoding="latin-1")
    assert login.login() is None


def test_what_is_no_file_is_not_waited_for(home: Path) -> None:
    home.mkdir()
    os.mkfifo(home / "auth.json")
    assert login.login() is None


def test_the_account_is_read_off_the_token_where_it_is_not_told(home: Path) -> None:
    home.mkdir()
    (home / "auth.json").write_text(json.dumps({"tokens": {"access_token": token()}}))
    found = login.login()
    assert found and found.account_id == ACCOUNT


@pytest.mark.parametrize(
    ("own", "environment", "wanted"),
    [
        ("", "", "https://chatgpt.com/backend-api/codex"),
        ("", "http://127.0.0.1:9/codex", "http://127.0.0.1:9/codex"),
        ("", "http://[::1]:9/codex", "http://[::1]:9/codex"),
        ("", "https://gateway.example/codex", "https://gateway.example/codex"),
        ("http://localhost:9", "https://gateway.example", "http://localhost:9"),
        ("${OPENAI_API_BASE_URL}", "https://gateway.example", "https://gateway.example"),
    ],
)
def test_the_backend(own: str, environment: str, wanted: str) -> None:
    env = {"OPENAI_API_BASE_URL": environment}
    assert backend(Provider(own, "responses", auth="chatgpt"), env) == wanted


@pytest.mark.parametrize(
    "address",
    [
        "http://chatgpt.com/backend-api/codex",
        "http://10.0.0.1/codex",
        "http://127.0.0.1.example/codex",
        "http://evil.localhost/codex",
        "http://127.0.0.1@evil.example/codex",
        "https://chatgpt.com@evil.example/codex",
        "https://:pw@chatgpt.com/codex",
        "ftp://127.0.0.1/codex",
        "//127.0.0.1/codex",
        "https://[nothing",
        "https://chatgpt.com:none/codex",
        "https:///codex",
    ],
)
def test_a_login_goes_by_tls_or_nowhere(address: str, home: Path) -> None:
    access = log_in(home)
    env = {"OPENAI_API_BASE_URL": address, "HOME": str(home.parent)}
    for provider in (CHATGPT, Provider(address, "responses", auth="chatgpt")):
        with pytest.raises(LoginError) as told:
            choose.headers(provider, env)
        assert access not in str(told.value)


def test_offered_only_while_somebody_is_logged_in(home: Path) -> None:
    def listed() -> tuple[list[str], list[str]]:
        codex = [entry["slug"] for entry in catalog.catalog(POLICY)["models"]]
        return list(catalog.models_of(POLICY)), codex

    assert listed() == (["small"], ["small"])
    with pytest.raises(LoginError, match="codex login"):
        choose.headers(CHATGPT)
    with pytest.raises(choose.NoRoute) as told:
        choose.choose(msgspec.structs.replace(POLICY, default=None), "nothing")
    assert "gpt-5.5" not in str(told.value)
    log_in(home)
    assert listed() == (["gpt-5.5", "best", "small"], ["gpt-5.5", "best", "small"])
    (home / "auth.json").unlink()
    assert listed() == (["small"], ["small"])


@pytest.mark.parametrize("name", ["openai-gpt-5-5", "openai-gpt-5-5-codex", "openai-gpt-5-5-high"])
def test_the_old_names(name: str) -> None:
    route = choose.choose(POLICY, name)
    assert (route.provider, route.model, route.asked) == ("chatgpt", "gpt-5.5", name)
    assert route.login and not route.third_party and is_named(POLICY, name)
    assert split_effort(POLICY, f"{name}:high") == (name, "high")
    other = parse_policy("models: {m: {provider: demo}}\ndefault: m\n")
    assert choose.choose(other, name).provider == "demo"
    own = 'providers: {up: {base_url: "http://127.0.0.1:9"}}\nmodels: {NAME: {provider: up}}\n'.replace(
        "NAME", name
    )
    assert choose.choose(parse_policy(own), name).provider == "up"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{auth: chatgpt}", "protocol: the Codex backend"),
        ("{auth: chatgpt, protocol: responses, key: k}", "key: auth: chatgpt takes"),
        ("{auth: chatgpt, protocol: responses, base_url: ftp://x}", "base_url: must be an http"),
        ("{protocol: responses}", "the field base_url is missing"),
    ],
)
def test_an_entry_that_cannot_be_meant(entry: str, words: str) -> None:
    report = examine(f"providers: {{chatgpt: {entry}}}", "policy.yaml")
    assert any(words in str(problem) for problem in report.problems), report.problems


def test_who_gets_the_login_is_told() -> None:
    text = "providers: {c: {auth: chatgpt, protocol: responses%s}}\nmodels: {m: {provider: c}}\n"
    own = examine(text % ', base_url: "https://gateway.example"', "p", environ={})
    named = examine(text % "", "p", environ={"OPENAI_API_BASE_URL": "https://gateway.example"})
    for report in (own, named):
        assert "sent to gateway.example" in str(report.warnings[0])
    assert examine(text % "", "p", environ={}).warnings == []


TOOL = {"type": "x", "model": "gpt-5.5", "text": 'say "model":"gpt-5.5"'}
EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "response": {"tools": [TOOL], "model": "gpt-5.5", "id": "r"}},
    {"type": "response.output_text.delta", "delta": '{"model":"gpt-5.5","response":{}}'},
    {"type": "response.output_item.done", "item": {"model": "gpt-5.5", "response": "x"}},
    {"type": "response.completed", "response": {"id": "r", "model": "gpt-5.5-2026-01-31"}},
]


def stream(events: list[dict[str, Any]], space: str = ": ") -> bytes:
    texts = [json.dumps(e, separators=(",", space)).encode() for e in events]
    return b"".join(b"event: e\r\ndata: %b\r\n\r\n" % text for text in texts) + b"data: [DONE]\n\n"


@given(st.lists(st.integers(0, 800)), st.sampled_from([": ", ":"]))
def test_the_name_is_written_back_and_nothing_else(cuts: list[int], space: str) -> None:
    data, named = stream(EVENTS, space), Named("gpt-5.5", "best")
    at = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    made = b"".join(named.feed(data[a:b]) for a, b in itertools.pairwise(at))
    wanted = json.loads(json.dumps(EVENTS))
    wanted[0]["response"]["model"] = wanted[3]["response"]["model"] = "best"
    assert made + named.close() == stream(wanted, space)


def test_another_model_that_answers_is_not_hidden() -> None:
    data = stream([{"type": "response.created", "response": {"model": "gpt-5.5-mini"}}])
    named = Named("gpt-5.5", "best")
    assert named.feed(data) + named.close() == data


def test_a_compacted_answer_gets_the_name_back() -> None:
    body = b'{"object": "response.compaction", "output":[{"model":"gpt-5.5"}], "model": "gpt-5.5"}'
    made = Named("gpt-5.5", "best").whole(body)
    assert made == body.removesuffix(b'"gpt-5.5"}') + b'"best"}'


def translated(client: str, **settings: Any) -> tuple[Translation, dict[str, Any]]:
    asked = {"model": "best", "messages": [{"role": "user", "content": "hi"}], **settings}
    turn = codec(client).read_request(json.dumps(asked).encode())
    made = Translation(turn, choose.choose(POLICY, "best"), codex=False)
    return made, json.loads(made.request())


def test_other_clients_send_what_codex_would_send() -> None:
    system = {"role": "system", "content": "Be short."}
    made, chat = translated(
        "chat",
        messages=[system, {"role": "user", "content": "hi"}],
        temperature=0.5,
        max_tokens=100,
        user="u",
    )
    _, messages = translated("messages", max_tokens=100, system="Be short.", top_p=0.5)
    for body in (chat, messages):
        assert set(body) <= {"model", "stream", "store", "include", "input"}
        assert body["model"] == "gpt-5.5" and body["stream"] is True and body["store"] is False
        assert [item["role"] for item in body["input"]] == ["developer", "user"]
    assert any("temperature" in note for note in made.notes)


def test_a_client_that_does_not_stream_gets_a_whole_answer() -> None:
    made, _ = translated("chat")
    item = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "hello"}],
    }
    events = [
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"id": "r", "model": "gpt-5.5"}},
    ]
    headers = {"content-type": "text/event-stream"}
    assert not made.streams(200, headers)
    answer = made.answer(made.translator(), 200, headers, stream(events))
    assert answer and answer.body
    said = json.loads(answer.body)
    assert said["choices"][0]["message"]["content"] == "hello" and said["model"] == "best"


@pytest.mark.parametrize("client", ["responses", "chat", "messages"])
@pytest.mark.parametrize("codex", [True, False])
def test_a_401_says_what_to_do(client: str, codex: bool) -> None:
    body = {"model": "best", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    body["input"] = "hi"
    turn = codec(client).read_request(json.dumps(body).encode())

    def answer(**more: Any) -> Any:
        made = Translation(turn, choose.choose(POLICY, "best"), codex=codex, **more)
        return made.answer(made.translator(), 401, {}, b'{"error":{"message":"token expired"}}')

    told = answer()
    assert told.status == (200 if codex else 401)
    for words in (b"token expired", b"codex login", b"start codex once"):
        assert words in told.body
    # Codex renews a login of its own when it sees the 401 itself.
    assert answer(renews=True).body is None


def test_nothing_of_it_costs_without_such_a_provider(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    looked: list[object] = []
    monkeypatch.setattr(login, "login", _noted(looked))
    policy = parse_policy("models: {m: {provider: demo}}\ndefault: m\n")
    assert list(catalog.models_of(policy)) == ["m"] and not looked
    catalog.models_of(POLICY)
    assert looked


def _noted(looked: list[object]) -> Callable[..., None]:
    return lambda *given: looked.append(given)
