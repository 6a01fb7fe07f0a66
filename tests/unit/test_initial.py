"""The model to begin with: a key that is set, a local server that answers, what the user decides."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from shim.cli import UserError, background
from shim.cli.background import chosen
from shim.cli.chain import DEFAULT_POLICY, NOWHERE, Options
from shim.cli.choice import DAILY, HELP, for_chain, is_shipped, leaves_open, line
from shim.cli.upstream import choose
from shim.daemon.files import Files, Settings
from shim.daemon.use import usual_model
from shim.policy.load import load_policy, parse_policy
from shim.policy.schema import Policy, Provider
from shim.policy.warn import lacking, variables
from shim.route import initial, switch
from shim.route.initial import instead_of_demo, lacks, local_models
from shim.route.switch import Switched

ROOT = Path(__file__).resolve().parents[2]

SMALL = parse_policy("""
providers:
  one: { base_url: "https://one.example/v1", key: "${ONE_KEY}" }
  two: { base_url: "https://two.example/v1", key: "${TWO_KEY}", headers: { x-org: "${TWO_ORG}" } }
  ollama: { base_url: "http://127.0.0.1:9/v1", auth: none }
models:
  big: { provider: two, model: vendor/big }
  small: { provider: one }
default: big
""")


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A loopback server that lists models; its base URL and what it answers."""
    answer = {"body": b'{"data":[{"id":"nomic-embed"},{"id":"llama3.2"},{"id":"qwen-coder"}]}'}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/v1/models" else 404)
            self.end_headers()
            self.wfile.write(answer["body"])

        def log_message(self, *args: object) -> None:
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}/v1", answer
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def with_ollama(url: str) -> Policy:
    return Policy(providers={"ollama": Provider(base_url=url, auth="none")})


def test_a_provider_whose_variables_are_all_set_wins() -> None:
    choice = choose(SMALL, {"TWO_KEY": "k", "TWO_ORG": "o"})
    assert (choice.model, choice.provider) == ("big", "two")
    assert choice.why == "TWO_KEY and TWO_ORG are set"
    assert choose(SMALL, {"TWO_KEY": "k"}).model == "demo"
    assert choose(SMALL, {"ONE_KEY": "k", "TWO_KEY": "k", "TWO_ORG": "o"}).model == "small"


def test_without_key_and_server_it_is_the_demo() -> None:
    choice = choose(SMALL, {"ONE_KEY": ""})
    assert choice.model == "demo"
    assert "no provider's key is set" in choice.why


def test_a_local_server_is_used_when_it_lists_a_model(
    server: tuple[str, dict[str, bytes]],
) -> None:
    url, answer = server
    choice = choose(with_ollama(url), {})
    assert choice.model == "ollama:qwen-coder"
    assert "Ollama answers" in choice.why
    for nothing in (b'{"data":[]}', b"not json", b"[]", b'{"data":[{"id":3}]}'):
        answer["body"] = nothing
        assert choose(with_ollama(url), {}).model == "demo"


def test_a_server_that_never_answers_does_not_hold_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initial, "LOCAL_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/v1"
        assert local_models(Provider(base_url=url)) == []


@pytest.mark.parametrize(
    ("asked", "environ", "model"),
    [
        ("demo", {"ONE_KEY": "k"}, "demo"),
        ("two", {"TWO_KEY": "k", "TWO_ORG": "o"}, "big"),
        ("small", {"ONE_KEY": "k"}, "small"),
        ("one:vendor/other", {"ONE_KEY": "k"}, "one:vendor/other"),
        ("ollama:mine", {}, "ollama:mine"),
    ],
)
def test_the_user_decides(asked: str, environ: dict[str, str], model: str) -> None:
    choice = choose(SMALL, {**environ, "UPSTREAM": asked})
    assert choice.model == model
    assert choice.why == f"UPSTREAM={asked}"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("onee", "no such provider; valid: one, two, ollama, demo"),
        ("one", "ONE_KEY is not set"),
        ("two:x", "TWO_KEY and TWO_ORG is not set"),
        ("ollama", "Ollama lists no model at http://127.0.0.1:9/v1"),
    ],
)
def test_what_cannot_be_used_is_refused(asked: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        choose(SMALL, {"UPSTREAM": asked})


def test_the_default_policy_can_be_chosen_from_without_any_key() -> None:
    policy = load_policy(DEFAULT_POLICY)
    assert policy.default == "demo"
    for name in policy.providers:
        assert any(model.provider == name for model in policy.models.values()), name
        needed = variables(policy.providers[name])
        if needed:
            assert choose(policy, dict.fromkeys(needed, "k")).provider == name


# What a command makes of it.

SHIPPED = load_policy(DEFAULT_POLICY)
KEYS = sorted({name for provider in SHIPPED.providers.values() for name in variables(provider)})


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no local server, nothing kept of a daemon."""
    for name in (*KEYS, "INTERPOSE_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(initial, "local_models", lambda provider: [])
    monkeypatch.setenv("INTERPOSE_HOME", str(tmp_path / "state"))


def options(policy: Path | None = DEFAULT_POLICY, model: str | None = None) -> Options:
    return Options(policy, NOWHERE, None, model, "")


def test_the_help_tells_the_order() -> None:
    order = [name for provider in SHIPPED.providers.values() for name in variables(provider)]
    assert re.findall(r"[A-Z]+_API_KEY", HELP) == order
    assert HELP.index(order[-1]) < HELP.index("Ollama") < HELP.index("LM Studio")
    page = (ROOT / "docs" / "use-with-codex.md").read_text("utf-8")
    table = page.partition("| what is there |")[2].partition("\n\n")[0]
    assert re.findall(r"`([A-Z]+_API_KEY)`", table) == order
    shown = re.findall(r"\| `([\w.-]+)` (?:of|at) ", table)
    assert shown == [initial.model_of(name, SHIPPED) for name, p in SHIPPED.providers.items()
                     if variables(p)]  # fmt: skip


def test_a_set_key_chooses_and_says_so(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found, note = for_chain(options(), SHIPPED)
    assert found.model is None and found.arguments(1) == options().arguments(1)
    assert note.startswith("Model: the offline demo, a script and no language model, since no")
    assert "such as OPENROUTER_API_KEY" in note and "--model NAME" in note
    monkeypatch.setenv("GROQ_API_KEY", "k")
    monkeypatch.setenv("DEEPSEEK_API_KEY", "k")
    found, note = for_chain(options(), SHIPPED)
    assert "initial_model=deepseek-chat" in found.arguments(1)
    assert note == (
        "Model: deepseek's deepseek-chat, since DEEPSEEK_API_KEY is set;"
        " another: --model NAME, list: interpose model list"
    )


def test_a_local_server_is_named_as_the_chain_calls_it(
    bare: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initial, "local_models", lambda provider: ["a-coder"])
    found, note = for_chain(options(), SHIPPED)
    assert found.model == "ollama:a-coder"
    assert note.startswith("Model: ollama's a-coder, since Ollama answers on loopback; another: ")


def test_who_has_chosen_is_not_asked_again(
    bare: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "k")
    assert for_chain(options(model="gpt-oss-120b"), SHIPPED) == (options(model="gpt-oss-120b"), "")
    _, note = for_chain(options(model="openrouter:x/y"), SHIPPED)
    assert note == "openrouter:x/y cannot answer yet: OPENROUTER_API_KEY is not set here"
    with pytest.raises(UserError, match="no model nobody; there are demo"):
        for_chain(options(model="nobody"), SHIPPED)
    # The default of one's own policy; one's own Codex as it is; no policy at all.
    mine = tmp_path / "mine.yaml"
    mine.write_bytes(DEFAULT_POLICY.read_bytes() + b"# mine\n")
    for opts in (options(mine), options(None), Options(DEFAULT_POLICY, NOWHERE, None, None, "",
                                                       intercept=True)):  # fmt: skip
        assert for_chain(opts, opts.load()) == (opts, "")
    assert for_chain(options(None, "any"), Policy()) == (options(None, "any"), "")
    copy = tmp_path / "copy.yaml"
    copy.write_bytes(DEFAULT_POLICY.read_bytes())
    assert is_shipped(copy) and not is_shipped(mine) and not is_shipped(tmp_path / "none.yaml")


def test_it_stands_above_the_demo_only() -> None:
    own = parse_policy("models: {a: {provider: demo}, b: {provider: reverse}}\ndefault: a")
    assert instead_of_demo(own, "b") == "b" and instead_of_demo(own, "reverse:c") == "reverse:c"
    assert instead_of_demo(own, None) is instead_of_demo(own, "gone") is None
    other = parse_policy("models: {a: {provider: demo}, b: {provider: reverse}}\ndefault: b")
    assert instead_of_demo(other, "a") is instead_of_demo(Policy(), "a") is None
    # The shipped one, edited: its default is a choice then.
    edited = parse_policy(DEFAULT_POLICY.read_text().replace("default: demo", "default: llama"))
    assert not leaves_open(DEFAULT_POLICY, edited) and leaves_open(DEFAULT_POLICY, SHIPPED)


def test_what_a_model_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CODEX_HOME", "OPENAI_CODEX_PATH", "USERPROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    missing = lacking(SHIPPED, {"GROQ_API_KEY": "k", "ZAI_API_KEY": ""})
    assert lacks(SHIPPED, "gpt-oss-120b", missing) == lacks(SHIPPED, "demo", missing) == []
    assert lacks(SHIPPED, "glm-4.6", missing) == ["ZAI_API_KEY is not set"]
    assert lacks(SHIPPED, "mistral:any", missing) == ["MISTRAL_API_KEY is not set"]
    assert lacks(SHIPPED, "nobody", missing) == []
    assert "codex login" in lacks(SHIPPED, "gpt-5.5", missing)[0]


def test_the_daemons_model_is_chosen_once(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    files, usual = Files(), Settings(str(DEFAULT_POLICY))
    settings, choice = chosen(usual, files)
    assert settings == usual and choice and choice.demo
    # The file env is the daemon's environment, too.
    files.make()
    files.environment.write_text("MISTRAL_API_KEY=k\n")
    settings, choice = chosen(usual, files)
    assert settings.model == "devstral" and choice and choice.why == "MISTRAL_API_KEY is set"
    assert "initial_model=devstral" in background.words(settings)
    assert usual_model(files, SHIPPED, settings.model) == "devstral"
    # Another key later, or none, changes nothing.
    monkeypatch.setenv("OPENROUTER_API_KEY", "k")
    files.environment.unlink()
    again, choice = chosen(settings, files)
    assert again == settings and choice
    said = line(choice, SHIPPED, DAILY)
    assert said.startswith("Model: mistral's devstral, since it was chosen before; another: inter")
    # One that the policy has no more is chosen anew.
    gone = Settings(str(DEFAULT_POLICY), model="gone")
    assert usual_model(files, SHIPPED, "gone") == "demo"
    assert chosen(gone, files)[0].model == "kimi-k2"
    # A switch stands above it, the demo's too.
    switch.write(files.switched, Switched("demo", 1.0))
    assert chosen(usual, files) == (usual, None)
    assert usual_model(files, SHIPPED, "devstral") == "demo"


def test_a_daemon_of_ones_own_policy_has_its_default(
    bare: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "k")
    mine = tmp_path / "mine.yaml"
    mine.write_bytes(DEFAULT_POLICY.read_bytes() + b"# mine\n")
    assert chosen(Settings(str(mine)), Files()) == (Settings(str(mine)), None)
    assert "OPENROUTER_API_KEY" in os.environ
