"""`interpose doctor` where checks themselves fail: a line of the report each, and a whole report."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shim.cli import main
from shim.daemon.files import Files
from shim.doctor import gather, guard, online, programs
from shim.policy.load import MissingVariable, parse_policy

pytestmark = pytest.mark.slow

ALWAYS = [section for section in gather.ORDER if section != "Catalog"]
LONG = "/tmp/" + "x" * 300
SECRET = "S3cret-0123456789"
#: Per section, what makes its findings.
CHECKS = [
    ("Python", gather.machine, "python"),
    ("Packages", gather.machine, "packages"),
    ("Codex", gather.clients, "clients"),
    ("Config", gather.config, "config"),
    ("Catalog", gather.catalog, "catalog"),
    ("Daemon", gather, "daemon"),
    ("Port", gather.network, "ports"),
    ("Login", gather.login, "login"),
    ("Proxies", gather.network, "proxies"),
    ("Certificates", gather.network, "certificates"),
    ("Policy", gather.policies, "policies"),
    ("Recordings", gather.machine, "recordings"),
    ("Providers", online, "providers"),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with nothing but a codex on PATH, and nothing of this machine."""
    for name in list(os.environ):
        if name.lower().endswith(("_proxy", "_api_key", "_base_url")) or name.startswith(
            ("INTERPOSE", "CODEX", "OPENAI", "SSL_")
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    codex = tmp_path / "bin" / "codex"
    codex.parent.mkdir()
    codex.write_text("#!/bin/sh\necho codex-cli 0.169.0\n")
    codex.chmod(0o755)
    monkeypatch.setenv("PATH", str(codex.parent))
    monkeypatch.setattr(programs, "local_folder", lambda: tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    """The findings as JSON, which are those that a terminal shows."""
    words = ("--online", "--port", "9", *words)
    code = main(["doctor", "--json", *words])
    out, err = capsys.readouterr()
    page = json.loads(out)
    assert code == (1 if page["failed"] else 0) and err == ""
    assert main(["doctor", *words]) == code
    plain, err = capsys.readouterr()
    assert err == "" and "Traceback" not in plain and SECRET not in plain + out
    findings: list[dict[str, Any]] = page["findings"]
    assert all(finding["section"] in plain for finding in findings)
    assert set(ALWAYS) <= {finding["section"] for finding in findings}
    return findings


def failed(findings: list[dict[str, Any]]) -> dict[str, str]:
    return {f["section"]: f["text"] for f in findings if f["level"] == "fail"}


@pytest.mark.parametrize(("section", "module", "name"), CHECKS, ids=[c[0] for c in CHECKS])
def test_a_check_that_raises_is_a_failed_line(
    section: str, module: Any, name: str, home: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text('model_catalog_json = "gone.json"\n')

    def broken(*args: object, **more: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(module, name, broken)
    failures = failed(doctor(capsys))
    assert failures.pop(section) == "could not be looked at: RuntimeError: boom"
    # Whether there is a catalog is told by the config.
    assert set(failures) <= {"Catalog"}


@pytest.fixture
def alive(home: Path) -> Iterator[Callable[[dict[str, str]], None]]:
    """Has a daemon live, by its lock, that has left files: their texts by their names."""
    files = Files()

    def begin(left: dict[str, str]) -> None:
        files.alive.take()
        for name, text in left.items():
            (files.folder / name).write_text(text)

    yield begin
    files.alive.release()


@pytest.mark.parametrize(
    ("env", "section", "words"),
    [
        ({"INTERPOSE_HOME": LONG}, "Daemon", f"could not be looked at: {LONG}"),
        ({"CODEX_HOME": LONG}, "Config", "cannot be read: File name too long"),
        ({"INTERPOSE_POLICY": LONG}, "Policy", LONG),
        ({"INTERPOSE_POLICY": "~nobody-here/p.yaml"}, "Policy", "no home folder for ~nobody-here"),
        ({"INTERPOSE_POLICY": "/"}, "Policy", "is no plain file"),
        ({"HOME": "/dev/null"}, "Login", "Not a directory"),
        ({"SSL_CERT_FILE": "/nowhere"}, "Certificates", "is not there"),
        ({"OPENAI_API_BASE_URL": "http://h/v1"}, "", ""),
        ({"HTTPS_PROXY": f"foo://me:{SECRET}@h:1", "GROQ_API_KEY": SECRET}, "", ""),
        ({"PYTHONIOENCODING": "ascii", "HOME": ""}, "", ""),
    ],
)
def test_an_odd_environment_costs_its_own_section(
    env: dict[str, str], section: str, words: str, home: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    failures = failed(doctor(capsys))
    assert words in failures.get(section, "")
    assert bool(failures) == bool(section)


def test_no_home_at_all(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME")

    def nowhere() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", nowhere)
    failures = failed(doctor(capsys))
    assert set(failures) == {"Config", "Daemon", "Login"}
    assert all("HOME is not set" in text for text in failures.values())


def _folder(path: Path) -> None:
    path.mkdir(parents=True)


def _text(text: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)

    return write


@pytest.mark.parametrize(
    ("file", "make", "section", "words"),
    [
        ("auth.json", _folder, "Login", "is no plain file"),
        ("auth.json", _text(b"\xff\xfe{"), "Login", "not JSON that can be read"),
        ("auth.json", _text(b"[" * 100_000), "Login", "not JSON that can be read"),
        ("auth.json", _text(b'{"tokens": {"access_token": "a\\nb"}}'), "", ""),
        ("config.toml", _folder, "Config", "is no plain file"),
        ("config.toml", _text(b"x = " + b"[" * 5000), "Config", "nested too deeply"),
        ("config.toml", _text(b'model_catalog_json = "~nobody-here/x"'), "Catalog", "is not there"),
        ("config.toml", _text(b'model_catalog_json = "\\u0000"'), "Catalog", "cannot be read"),
    ],
)
def test_a_broken_file_of_codex(
    file: str, make: Callable[[Path], None], section: str, words: str, home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    make(home / ".codex" / file)
    failures = failed(doctor(capsys))
    assert words in failures.get(section, "") and bool(failures) == bool(section)


@pytest.mark.parametrize(
    ("files", "section"),
    [
        ({"daemon.json": '{"pid": "x", "port": "y", "policy": 7}'}, "Policy"),
        ({"daemon.json": '{"pid": 1, "port": 99999999}'}, "Daemon"),
        ({"settings.json": '{"policy": 5, "port": "x", "record_dir": [1]}'}, "Policy"),
        ({"settings.json": "[" * 5000, "model.json": "{"}, ""),
    ],
)
def test_a_daemon_that_left_nonsense(
    files: dict[str, str], section: str, alive: Callable[[dict[str, str]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    alive(files)
    failures = failed(doctor(capsys))
    assert (section in failures) == bool(section)


def test_keys_that_cannot_be_read_are_told_of(
    alive: Callable[[dict[str, str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    alive({})
    Files().environment.mkdir()
    assert "its file env is no plain file" in failed(doctor(capsys))["Daemon"]


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ('{ base_url: "${BASE}" }', "could not be asked: Port out of range 0-65535"),
        ('{ base_url: "http://127.0.0.1:9/v1", key: "${LINES}" }', "cannot be reached"),
        ('{ base_url: "http://127.0.0.1:9/v1", key: "${LETTERS}" }', "characters that cannot be sent"),
        ('{ base_url: "http://[::1]:9/v1" }', "cannot be reached"),
        ('{ base_url: "http://127.0.0.1:9/v1", headers: { "x y": z } }', "cannot be reached"),
        ("{ auth: chatgpt, protocol: responses, base_url: http://h/v1 }", "is sent by https"),
    ],
)  # fmt: skip
def test_a_provider_that_cannot_be_asked(
    provider: str, words: str, home: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("BASE", "http://h:99999/v1")
    monkeypatch.setenv("LINES", f"a\n{SECRET}")
    monkeypatch.setenv("LETTERS", f"ключ{SECRET}")
    _text(b'{"tokens": {"access_token": "abc"}}')(home / ".codex" / "auth.json")
    policy = home / "p.yaml"
    policy.write_text(
        f"providers: {{ up: {provider} }}\nmodels: {{ m: {{ provider: up }} }}\ndefault: m\n"
    )
    findings = doctor(capsys, "--policy", str(policy))
    assert words in failed(findings)["Providers"]


def test_one_that_raises_in_asking_leaves_the_others(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = parse_policy(
        'providers: { a: { base_url: "http://h/v1" }, b: { base_url: "http://h/v1" } }'
    )

    async def ask(name: str, *more: object) -> online.Reached:
        if name == "a":
            raise MissingVariable("A_KEY")
        raise KeyError("boom")

    monkeypatch.setattr(online, "_ask", ask)
    findings = online.providers(asyncio.run(online.reach(policy, {}, lambda n, of: None)), policy)
    assert [f.text for f in findings] == [
        "a could not be asked: the variable A_KEY is not set",
        "b could not be asked: KeyError: 'boom'",
    ]


def test_a_policy_with_mistakes_or_agents(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = home / "p.yaml"
    policy.write_text("models: 5\n")
    findings = doctor(capsys, "--policy", str(policy))
    assert [f["text"] for f in findings if f["section"] == "Providers"] == [
        "none was asked: the policy cannot be used"
    ]
    policy.write_text(
        "agents: { mine: { use: codex } }\nmodels: { m: { provider: mine } }\ndefault: mine\n"
    )
    assert failed(doctor(capsys, "--policy", str(policy))) == {}


def test_a_model_in_use_whose_provider_waits_for_a_key(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default is well, but Codex asks for another."""
    Files().folder.mkdir(parents=True)
    Files().switched.write_text('{"model": "kimi-k2", "at": 1}')
    findings = [
        f["text"] for f in doctor(capsys) if f["section"] == "Policy" and f["level"] == "warn"
    ]
    assert findings == [
        "the model kimi-k2's provider openrouter counts as down: "
        "OPENROUTER_API_KEY is not set in this shell"
    ]


def test_the_guard_says_what_to_do() -> None:
    cases = [
        (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied", "yours to read"),
        (MissingVariable("A"), "the variable A is not set", "export A"),
        (KeyError("x"), "KeyError: 'x'", "report it"),
    ]
    for error, words, fix in cases:
        (finding,) = guard.unseen("Codex", error)
        assert finding.level == "fail" and words in finding.text and fix in finding.fix
