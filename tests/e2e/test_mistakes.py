"""What a new user's mistakes come to: the sentence of each, as docs/doctor.md shows it.

With INTERPOSE_WRITE_DOCS=1 the table is written.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from shim.cli import main
from shim.doctor import online
from shim.policy.load import examine
from tests.e2e.chain import Chain
from tests.e2e.daily import Daily
from tests.e2e.mistakes import KEY, MISTAKES, PAGE, Mistake, Row, server, table, with_table
from tests.e2e.place import Place
from tests.e2e.upstreams import Upstream, closed_port

ENV = {"ACME_KEY": KEY, "OLD_KEY": "sk-" + "acme-gone-9876543210"}
CODEX = {"originator": "codex_exec", "user-agent": "codex_exec/0.169.0"}


@dataclass
class Lab:
    """A Chat server, a dead port, and a chain with a provider and a model per mistake."""

    server: Upstream
    dead: str
    chain: Chain

    def here(self, text: str) -> str:
        return text.replace("SERVER", self.server.url).replace("DEAD", self.dead)

    def there(self, text: str) -> str:
        """``text`` as it is on every machine."""
        text = text.replace(self.server.url, "http://127.0.0.1:8000")
        dead = self.dead.removeprefix("http://")
        return text.replace(self.server.url[7:], "127.0.0.1:8000").replace(dead, "127.0.0.1:9999")


@pytest.fixture
def lab() -> Iterator[Lab]:
    dead = f"http://127.0.0.1:{closed_port()}"
    with Upstream(server) as upstream:
        providers, models = [], []
        for mistake in MISTAKES:
            if mistake.turn is None:
                continue
            text = mistake.policy.replace("SERVER", upstream.url).replace("DEAD", dead)
            policy = examine(text, "p").policy
            assert policy
            entry, model = text.split("acme:\n")[1].split("models:")[0], policy.models["mine"].model
            providers.append(f"  {mistake.name}:\n{entry}")
            models.append(f"  {mistake.name}: {{ provider: {mistake.name}, model: {model} }}\n")
        policy_text = "".join(["providers:\n", *providers, "models:\n", *models])
        with Chain(policy=policy_text, env=ENV) as chain:
            yield Lab(upstream, dead, chain)


def in_turn(lab: Lab, name: str) -> str:
    """What Codex would show of a turn with the model ``name``, which reaches it once."""
    body = {"model": name, "stream": True, "input": "hello"}
    answer = lab.chain.post("/v1/responses", json=body, headers=CODEX)
    assert answer.status_code == 200
    failed = [line for line in answer.text.splitlines() if "response.failed" in line]
    event = json.loads(failed[-1].removeprefix("data: "))
    error = event["response"]["error"]
    # With this code Codex ends the turn at once and shows the words.
    assert error["code"] == "invalid_prompt"
    return str(error["message"]).replace(f"{name}: ", "acme: ")


def checked(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    file = folder / "policy.yaml"
    file.write_text(text)
    code = main(["policy", "check", str(file)])
    text = capsys.readouterr().out.replace(f"{file}", "policy.yaml")
    lines = [line for line in text.splitlines() if not line.startswith("policy.yaml: good")]
    assert code == any(": error: " in line for line in lines)
    return " ".join(lines)


def doctor_says(text: str) -> str:
    policy = examine(text, "policy.yaml", environ=ENV).policy
    assert policy
    reached = asyncio.run(online.reach(policy, ENV, lambda n, of: None))
    findings = online.providers(reached, policy)
    return " ".join(f.text for f in findings if f.level != "ok")


def row_of(mistake: Mistake, lab: Lab, folder: Path, capsys: pytest.CaptureFixture[str]) -> Row:
    """What is said of ``mistake``, which is what it expects."""
    text = lab.here(mistake.policy)
    check = lab.there(checked(text, folder, capsys))
    assert mistake.check in check and bool(mistake.check) == bool(check), (mistake.name, check)
    doctor = turn = None
    if mistake.doctor is not None:
        doctor = lab.there(doctor_says(text))
        assert mistake.doctor in doctor, (mistake.name, doctor)
    if mistake.turn is not None:
        turn = lab.there(in_turn(lab, mistake.name))
        words = mistake.turn.replace("SERVER", "http://127.0.0.1:8000")
        assert words in turn, (mistake.name, turn)
    for text in (check, doctor or "", turn or ""):
        assert "Traceback" not in text and not any(key in text for key in ENV.values())
    before = [("policy check", check), ("doctor --online", doctor or "")]
    return Row(mistake.title, before, turn)


def taken(lab: Lab, place: Place) -> Row:
    port = lab.chain.port
    done = place.run("serve", "--port", str(port), "--no-record")
    assert done.returncode == 1
    text = done.stderr.strip().removeprefix("interpose: ")
    text = text.replace(f"{port + 1}", "8081").replace(f"{port}", "8080")
    text = re.sub(r"process \d+", "process 4711", text)
    assert "(a chain of Interpose); take another" in text and "--port 8081" in text
    return Row("a port that is taken", [("serve", text)])


def test_the_page_shows_what_each_mistake_comes_to(
    lab: Lab,
    place: Place,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ACME_KEY_NOT_SET", raising=False)
    rows = [row_of(mistake, lab, tmp_path, capsys) for mistake in MISTAKES]
    rows_of_page = table([*rows, taken(lab, place)])
    if os.environ.get("INTERPOSE_WRITE_DOCS"):
        PAGE.write_text(with_table(PAGE.read_text("utf-8"), rows_of_page), "utf-8")
    page = PAGE.read_text("utf-8")
    assert page == with_table(page, rows_of_page)


def test_the_doctor_on_an_empty_home(place: Place) -> None:
    """The default policy, nothing set, no internet: a report, and what is out of reach is in it."""
    # A proxy that leads nowhere stands for no internet.
    keys = {"OPENROUTER_API_KEY": KEY, "GROQ_API_KEY": KEY}
    for env in ({}, keys):
        place.env.update(env)
        plain = place.run("doctor", "--online")
        page = json.loads(place.run("doctor", "--online", "--json").stdout)
        assert plain.stderr == "" and "Traceback" not in plain.stdout
        sections = {finding["section"] for finding in page["findings"]}
        assert {"Python", "Codex", "Config", "Daemon", "Login", "Policy", "Providers"} <= sections
        findings = [f["text"] for f in page["findings"] if f["section"] == "Providers"]
        assert all("cannot be reached" in text for text in findings if "127.0.0.1" not in text)
        assert len([t for t in findings if t.startswith(("openrouter", "groq"))]) == len(env)
        policy = " ".join(f["text"] for f in page["findings"] if f["section"] == "Policy")
        assert "chatgpt (a ChatGPT login)" in policy
        assert KEY not in plain.stdout


def test_status_says_why_it_is_degraded(daily: Daily) -> None:
    dead = f'up: {{ base_url: "http://127.0.0.1:{closed_port()}/v1" }}'
    good = f"providers: {{ {dead} }}\nmodels: {{ m: {{ provider: up }} }}\ndefault: m\n"
    daily.begin(good)
    assert "problem" not in daily.run("status").stdout
    key = daily.run("ensure").stdout.strip()
    url = f"http://127.0.0.1:{daily.port}/v1/responses"
    with httpx.Client(trust_env=False, timeout=20) as client:
        head = {"authorization": f"Bearer {key}"}
        client.post(url, json={"model": "m", "input": "hi"}, headers=head)
    policy = daily.policy(good.replace("provider: up", "provider: upp"))
    done = daily.run("status")
    # It answers, so the exit code is 0.
    assert done.returncode == 0 and ", degraded\n" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("problem ")]
    assert lines[0].startswith(f"problem it keeps an older policy: {policy}:2:")
    assert f"correct {policy}; it counts from the next request on" in lines[0]
    assert "it finds the provider up not well: 1 failed: up: nothing listens" in lines[1]
    assert "interpose doctor --online" in lines[1]
    page = json.loads(daily.run("status", "--json").stdout)["daemon"]
    assert page["answers"] == "degraded"
    assert [f"problem {problem}" for problem in page["problems"]] == lines
    daily.policy("providers: {}\n")
    done = daily.run("status")
    assert done.returncode == 0 and "it knows no model by name" in done.stdout


def test_a_taken_port_is_told_by_whom(place: Place) -> None:
    with Upstream([]) as other:
        done = place.run("serve", "--port", str(other.port), "--no-record")
        assert done.returncode == 1 and "is in use by python" in done.stderr
        assert "(a chain" not in done.stderr
        assert f"--port {other.port + 1}" in done.stderr
