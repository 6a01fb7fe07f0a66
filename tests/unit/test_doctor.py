"""The doctor's checks, each given what was read: no machine, no network."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from shim.codex.catalog import catalog as made
from shim.codex.home import paste_lines
from shim.doctor import catalog, clients, config, login, machine, network, policies
from shim.doctor.daemon import Daemon, daemon
from shim.doctor.finding import Finding, Unread, clean, read, shown
from shim.doctor.online import Reached, providers
from shim.policy.load import examine, parse_policy
from shim.policy.schema import Model, Policy

TOML = Path("/home/user/.codex/config.toml")
SECRET = "sk-" + "proj-9f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c"


def levels(found: list[Finding]) -> list[str]:
    assert all(bool(f.fix) == (f.level != "ok") for f in found), found
    return [f.level for f in found]


def worst(found: list[Finding]) -> str:
    return max(levels(found), key=["ok", "warn", "fail"].index)


def look(
    text: str,
    env: Mapping[str, str] | None = None,
    open_ports: tuple[int, ...] = (),
    runs: bool = True,
) -> tuple[config.Config, list[Finding]]:
    known, found = config.config(
        text.encode(), TOML, env or {}, lambda host, port: port in open_ports, lambda word: runs
    )
    levels(found)
    return known, found


OURS = paste_lines("http://127.0.0.1:8080/v1", "m", True)


def test_a_provider_on_a_dead_loopback_port_is_a_failure_and_comes_first() -> None:
    _, found = look(OURS, {"INTERPOSE_KEY": "any"})
    assert levels(found) == ["fail"]
    assert (
        "nothing listens there" in found[0].text and "interpose serve --port 8080" in found[0].fix
    )
    _, found = look(OURS, {"INTERPOSE_KEY": "any"}, open_ports=(8080,))
    assert levels(found) == ["ok"]


@pytest.mark.parametrize(
    ("text", "level", "said"),
    [
        ("model = \n", "fail", "line 1"),
        ("\n\na = 1\na = 2\n", "fail", "line 4"),
        ("a = " + "[" * 100_000, "fail", "no valid TOML"),
        ('model_provider = "gone"\n', "fail", "no [model_providers.gone]"),
        ('model_provider = "ollama"\n', "ok", "ollama"),
        ('profile = "p"\n[profiles.p]\nmodel_provider = "gone"\n', "fail", "model_providers.gone"),
        ('openai_base_url = "http://127.0.0.1:9/v1"\n', "fail", "nothing listens"),
        ('chatgpt_base_url = "http://127.0.0.1:9"\n', "fail", "Codex refuses"),
        (OURS.replace('"Interpose"', '""'), "fail", "has no name"),
        (OURS.replace('"Interpose"', '"OpenAI"'), "warn", "compacts"),
        (OURS.replace('"responses"', '"chat"'), "fail", "wire_api"),
        (OURS, "warn", "INTERPOSE_KEY is not set"),
        (OURS + f'experimental_bearer_token = "{SECRET}"\n', "warn", "a key stands in the file"),
        (
            '[model_providers.old]\nname = "o"\nbase_url = "http://localhost:7/v1"\n',
            "warn",
            "not in use",
        ),
        ('model_provider = 5\nmodel_providers = "x"\n', "ok", "openai"),
        ('model_provider = "x"\n[model_providers]\nx = 1\n', "fail", "no [model_providers.x]"),
        ('openai_base_url = "http://127.0.0.1:99999/v1"\n', "ok", "an address that is none"),
    ],
)
def test_what_a_config_may_have(text: str, level: str, said: str) -> None:
    _, found = look(text, open_ports=(8080,))
    assert worst(found) == level
    text = " ".join(f.text + f.fix for f in found)
    assert said.lower() in text.lower()
    assert SECRET not in text


def test_a_config_with_a_mark_is_read_and_other_text_is_refused() -> None:
    assert worst(look("﻿" + OURS, {"INTERPOSE_KEY": "x"}, (8080,))[1]) == "ok"
    _, found = config.config(b"a = 1\n\xff", TOML, {}, lambda h, p: False, lambda w: True)
    assert "line 2: is not UTF-8" in found[0].text


def test_the_command_that_gives_the_key_starts_the_daemon() -> None:
    text = OURS.replace('env_key = "INTERPOSE_KEY"', 'auth = { command = "/x/interpose" }')
    assert worst(look(text)[1]) == "ok"
    _, found = look(text, runs=False)
    assert levels(found) == ["fail", "fail"] and "/x/interpose" in found[0].text


GOOD = made(Policy(models={"kimi": Model("p", context_window=1000)}))


def changed(**fields: object) -> bytes:
    return json.dumps({"models": [GOOD["models"][0] | fields]}).encode()


@pytest.mark.parametrize(
    ("raw", "model", "level", "said"),
    [
        (json.dumps(GOOD).encode(), "kimi", "ok", "1 models"),
        (json.dumps(GOOD).encode(), "kimi-0905", "ok", ""),
        (json.dumps(GOOD).encode(), "moonshot/kimi", "ok", ""),
        (json.dumps(GOOD).encode(), "other", "warn", "no entry for other"),
        (None, "kimi", "fail", "is not there"),
        (b"\xef\xbb\xbf{}", "kimi", "fail", "byte order mark"),
        (b"{", "kimi", "fail", "line 1 column 2"),
        (b"[" * 200_000, "kimi", "fail", "JSON"),
        (b"\xff", "kimi", "fail", "JSON"),
        (b"[]", "kimi", "fail", "no list models"),
        (b'{"models": []}', "kimi", "fail", "no list models"),
        (b'{"models": [1]}', "kimi", "fail", "no object"),
        (changed(priority=True), "kimi", "fail", "priority is of the wrong type"),
        (changed(apply_patch_tool_type="function"), "kimi", "fail", "only be freeform"),
        (changed(context_window=None), "kimi", "warn", "never compacts"),
    ],
)
def test_what_a_catalog_may_have(raw: bytes | None, model: str, level: str, said: str) -> None:
    found = catalog.catalog(raw, Path("models.json"), model)
    assert levels(found) == [level]
    assert said in found[0].text


def jwt(**claims: object) -> str:
    return "x." + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=") + ".y"


def tokens(**given: object) -> bytes:
    return json.dumps({"tokens": given}).encode()


@pytest.mark.parametrize(
    ("raw", "mode", "needed", "level", "said"),
    [
        (None, None, False, "ok", "not logged in"),
        (None, None, True, "fail", "requires_openai_auth"),
        (b"{", 0o600, False, "fail", "not JSON"),
        (b"[1]", 0o600, False, "fail", "not JSON"),
        (b"{}", 0o600, True, "fail", "holds no login"),
        (json.dumps({"OPENAI_API_KEY": SECRET}).encode(), 0o600, False, "ok", "API key"),
        (json.dumps({"OPENAI_API_KEY": SECRET}).encode(), 0o644, False, "warn", "other users"),
        (tokens(access_token=jwt(exp=2000.0)), 0o600, True, "ok", "until 1970-01-01 00:33 UTC"),
        (tokens(access_token=jwt(exp=500)), 0o600, False, "warn", "cannot be renewed"),
        (tokens(access_token=jwt(exp=500), refresh_token=SECRET), 0o600, False, "ok", "renews"),
        (tokens(access_token=jwt(exp=1e300)), 0o600, False, "ok", "does not say"),
        (tokens(access_token=SECRET), 0o600, False, "ok", "does not say"),
        (tokens(access_token=["x"]), 0o600, False, "ok", "does not say"),
    ],
)
def test_what_a_login_may_be(
    raw: bytes | None, mode: int | None, needed: bool, level: str, said: str
) -> None:
    found = login.login(raw, Path("auth.json"), mode, needed, now=1000.0)
    assert worst(found) == level
    told = " ".join(f.text + f.fix for f in found)
    assert said in told and SECRET not in told


@pytest.mark.parametrize(
    ("env", "loopback", "level", "said"),
    [
        ({}, True, "ok", "no proxy"),
        ({"HTTP_PROXY": "http://proxy:3128"}, True, "fail", "127.0.0.1 and localhost"),
        ({"HTTP_PROXY": "http://proxy:3128"}, False, "warn", "127.0.0.1 and localhost"),
        ({"http_proxy": "proxy:3128", "NO_PROXY": "127.0.0.1"}, True, "fail", "localhost would"),
        ({"ALL_PROXY": "socks5://p:1", "no_proxy": "*"}, True, "ok", "socks5://p:1"),
        ({"HTTPS_PROXY": "http://proxy:3128"}, True, "ok", "https goes by way of"),
        (
            {"HTTP_PROXY": "http://me:hunter22@p:1", "NO_PROXY": "127.0.0.1,localhost"},
            True,
            "ok",
            "//p:1",
        ),
        ({"HTTP_PROXY": "http://[x"}, True, "fail", "none"),
    ],
)
def test_proxies(env: dict[str, str], loopback: bool, level: str, said: str) -> None:
    found = network.proxies(env, loopback)
    assert worst(found) == level
    told = " ".join(f.text + f.fix for f in found)
    assert said in told and "hunter22" not in told


def test_the_fix_of_a_proxy_keeps_what_is_exempt() -> None:
    found = network.proxies({"HTTP_PROXY": "http://p:1", "NO_PROXY": "corp.example"}, True)
    assert "NO_PROXY=corp.example,127.0.0.1,localhost" in found[-1].fix


def test_certificates_must_be_there_and_be_some() -> None:
    files: dict[str, bytes | None] = {
        "/good": b"-----BEGIN CERTIFICATE-----",
        "/bad": b"x",
        "/none": None,
    }

    def from_files(path: Path) -> bytes | None:
        if str(path) == "/fifo":
            raise Unread("is no plain file")
        return files[str(path)]

    for name, level in (("/good", "ok"), ("/bad", "fail"), ("/none", "fail"), ("/fifo", "fail")):
        for variable in ("SSL_CERT_FILE", "CODEX_CA_CERTIFICATE"):
            assert levels(network.certificates({variable: name}, from_files)) == [level]
    assert levels(network.certificates({}, from_files)) == ["ok"]


def test_who_has_a_port() -> None:
    page = {
        "status": "ok",
        "recording": {"error": None},
        "policy": {"file": "p.yaml", "error": None},
    }
    sick = page | {
        "policy": {"error": "p.yaml:1:1: bad"},
        "recording": {"error": "disk full"},
        "providers": {"up": "open: refused"},
    }
    cases = [
        (network.Answer(1, False), ["ok"]),
        (network.Answer(1, True, b"<html>"), ["warn"]),
        (network.Answer(1, True, b'{"status": "ok"}'), ["warn"]),
        (network.Answer(1, True, b"[" * 100_000), ["warn"]),
        (network.Answer(1, True, json.dumps(page).encode()), ["ok"]),
        (network.Answer(1, True, json.dumps(sick).encode()), ["ok", "warn", "warn", "warn"]),
    ]
    for answer, expected in cases:
        assert levels(network.ports([answer])) == expected
    assert levels(network.ports([network.Answer(1, True, b"x")], used=1)) == ["fail"]


def test_the_daemon() -> None:
    cases = [
        (Daemon(), True, "ok", "starts it"),
        (Daemon(known=True), False, "ok", "interpose enable"),
        (Daemon(), False, "ok", "never run"),
        (Daemon(known=True, pid=7, port=1, answers="ok"), True, "ok", "process 7"),
        (Daemon(known=True, pid=7, port=1), True, "fail", "does not answer"),
    ]
    for now, enabled, level, said in cases:
        found = daemon(now, enabled)
        assert levels(found) == [level] and said in found[0].text


def client(
    said: str = "codex-cli 0.169.0", place: clients.Place = "PATH", **more: str
) -> clients.Client:
    return clients.Client(Path(f"/{place}/{said}"), place, said, **more)


@pytest.mark.parametrize(
    ("found", "codex_bin", "npm", "expected", "said"),
    [
        ([client()], None, True, ["ok"], "0.169.0"),
        ([client("codex-cli 0.170.1-alpha.2")], None, True, ["ok"], "newer than all"),
        ([client("codex-cli 0.46.0")], None, True, ["warn"], "older than all"),
        ([client("")], None, True, ["warn"], "says no version"),
        ([client(problem="does not answer")], None, True, ["warn"], "does not answer"),
        ([client(), client("codex-cli 0.150.0")], None, True, ["ok", "ok", "warn"], "several"),
        ([client(), client("codex-cli 0.150.0", "pinned")], None, True, ["ok", "ok"], ""),
        ([], None, True, ["warn"], "no codex"),
        ([], None, False, ["fail"], "no npm"),
        ([client()], "gone", True, ["fail", "ok"], "CODEX_BIN"),
    ],
)
def test_codex_clients(
    found: list[clients.Client], codex_bin: str | None, npm: bool, expected: list[str], said: str
) -> None:
    told = clients.clients(found, codex_bin, npm)
    assert levels(told) == expected
    assert said in " ".join(f.text for f in told)


def test_python_and_packages() -> None:
    assert levels(machine.python((3, 11, 9), "python")) == ["fail"]
    assert levels(machine.python((3, 14, 0), "python")) == ["ok"]
    wanted = ["mitmproxy>=12.2,<13", "rich>=13", "google-re2>=1.1"]
    there = {"mitmproxy": "12.2.0", "rich": "13", "google-re2": "1.1.20251105"}
    assert levels(machine.packages(wanted, there)) == ["ok"]
    found = machine.packages(
        wanted, there | {"mitmproxy": "13.0", "rich": None, "google-re2": "1.0.9"}
    )
    assert [f.text for f in found] == [
        "mitmproxy is 13.0, and must be <13",
        "rich is not installed",
        "google-re2 is 1.0.9, and must be >=1.1",
    ]


@pytest.mark.parametrize(
    ("is_folder", "writable", "free", "level"),
    [
        (True, True, 5 << 30, "ok"),
        (True, True, None, "ok"),
        (True, True, 500 << 20, "warn"),
        (True, True, 1 << 20, "fail"),
        (True, False, 5 << 30, "fail"),
        (False, True, 5 << 30, "fail"),
    ],
)
def test_recordings(is_folder: bool, writable: bool, free: int | None, level: str) -> None:
    folder = machine.Folder(Path("/r/x"), Path("/r"), is_folder, writable, free)
    assert levels(machine.recordings(folder)) == [level]


POLICY = """
providers:
  a: { base_url: "https://a.example/v1", key: "${A_KEY}" }
  b: { base_url: "https://b.example/v1", key: "${B_KEY}" }
models:
  m: { provider: a }
default: m
"""


def of_policy(text: str, env: dict[str, str]) -> list[Finding]:
    return policies.policies(examine(text, "p.yaml", environ=env), Path("p.yaml"), env)


def test_a_policy_is_checked_and_keys_come_together() -> None:
    found = of_policy(POLICY, {"A_KEY": "x"})
    assert levels(found) == ["ok", "ok"] and "b (B_KEY)" in found[1].text
    found = of_policy(POLICY, {})
    assert levels(found) == ["ok", "warn", "ok"] and "export A_KEY" in found[1].fix
    found = of_policy(POLICY.replace("default: m", "default: n"), {})
    assert levels(found) == ["fail"] and found[0].text.startswith("p.yaml:7:1: default: no model n")
    found = of_policy(
        POLICY + 'apply: now\ncache: {}\nredact: [{name: s, value: "${S}"}]\n', {"A_KEY": "x"}
    )
    assert levels(found) == ["ok", "warn", "ok", "warn"]
    many = POLICY + "".join(f"x{n}: 1\n" for n in range(30))
    found = of_policy(many, {})
    assert len(found) == 11 and "20 more" in found[-1].text


def test_providers_that_were_asked() -> None:
    policy = parse_policy(POLICY)
    cases = [
        (Reached("a", "x", 200), "ok"),
        (Reached("a", "x", 404), "ok"),
        (Reached("a", "x", 401), "fail"),
        (Reached("b", "x", 401), "warn"),
        (Reached("a", "x", 503), "fail"),
        (Reached("b", "x", why="refused"), "warn"),
    ]
    for reached, level in cases:
        assert levels(providers([reached], policy)) == [level]
    assert levels(providers([], policy)) == ["ok"]


def test_nothing_that_is_shown_harms_a_terminal_or_tells_a_key() -> None:
    hostile = f"a\x1b]0;x\x07\n\x9b31m‮b {SECRET} " + "y" * 10_000
    shown_text = clean(hostile)
    assert shown_text.isprintable() and SECRET not in shown_text and len(shown_text) <= 400
    assert shown("https://me:hunter22@host:1/secret?key=x") == "https://host:1"
    assert shown("http://[::1]:8080/v1") == "http://[::1]:8080"
    _, found = look(f'model_provider = "\\u001b[2J{SECRET}"\n')
    assert worst(found) == "fail" and found[0].text.isprintable() and SECRET not in found[0].text


def test_a_file_is_read_with_a_bound(tmp_path: Path) -> None:
    import os

    assert read(tmp_path / "none") is None
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(100 << 20)
    for name, said in (("fifo", "no plain file"), ("large", "100 MB"), (".", "no plain file")):
        with pytest.raises(Unread, match=said):
            read(tmp_path / name)
