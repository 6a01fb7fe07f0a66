"""deploy/ as text: what is open to whom, what is pinned, and that its parts know each other.

tests/e2e/test_container.py carries the Containerfile out, test_install.py the script.
"""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from shim.cli import chain
from shim.codex.find import PINNED
from shim.exchange.client_keys import known_keys
from tests.e2e.container import stages, values
from tests.unit.test_docs import mitmdump, our_options

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = [pytest.param(service, id=name) for name, service in COMPOSE["services"].items()]


def test_bases_are_of_one_version_each() -> None:
    bases = {steps[0][1] for steps in stages().values()} - stages().keys()
    for base in bases:
        assert re.fullmatch(r"(python|node):\d+\.\d+\.\d+(-\w+)?-slim", base.replace("-slim-bookworm", "-slim"))
    assert len({base.partition(":")[0] for base in bases}) == len(bases), "two versions of one"


@pytest.mark.parametrize("stage", ["proxy", "agents"])
def test_the_image_runs_as_nobody_and_holds_no_key(stage: str) -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", values(stage, "USER")[-1])
    assert not re.search(r"key|token|secret", " ".join(values(stage, "ENV")), re.I)
    assert not [word for word in values(stage, "COPY") if ".env" in word]
    assert values(stage, "VOLUME") == ["/data"] and "/health" in values(stage, "HEALTHCHECK")[-1]
    words = json.loads(values(stage, "CMD")[-1])
    assert words[0] == "serve" and "allow_remote=true" in words


def test_what_the_image_copies_is_sent_to_the_engine_and_no_more() -> None:
    lines = (DEPLOY / "Containerfile.dockerignore").read_text().split()
    assert lines[0] == "*"
    sent = [line[1:] for line in lines if line.startswith("!")]
    wanted = set()
    for steps in stages().values():
        copies = [rest.split()[:-1] for word, rest in steps if word == "COPY" and "--from" not in rest]
        wanted |= {name for names in copies for name in names}
    for name in wanted:
        assert (ROOT / name).exists()
        assert [s for s in sent if name == s or name.startswith(f"{s}/")], f"{name} is not sent"
    assert not [s for s in sent if not [n for n in wanted if n == s or n.startswith(f"{s}/")]]


def test_the_lock_of_what_is_installed_is_that_of_the_tests() -> None:
    text = (DEPLOY / "requirements.lock").read_text()
    pins = [line.split()[0] for line in text.splitlines() if "==" in line]
    whole = {line.split()[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert set(pins) <= whole, "run tools/lock"
    names = {pin.partition("==")[0] for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = [*project["project"]["dependencies"], *project["dependency-groups"]["build"]]
    assert {re.split("[>=<]", one)[0] for one in needed} <= names, "run tools/lock"
    assert all("--hash=sha256:" in part for part in re.split(r"^(?=\S)", text, flags=re.M)[2:])


def test_codex_is_the_version_that_is_tested() -> None:
    package = json.loads((DEPLOY / "codex" / "package.json").read_text())
    assert package["dependencies"] == {"@openai/codex": PINNED}
    lock = json.loads((DEPLOY / "codex" / "package-lock.json").read_text())["packages"]
    assert lock[""]["dependencies"] == package["dependencies"]
    found = {name: entry for name, entry in lock.items() if name}
    assert all(e["version"].startswith(PINNED) and e["integrity"] for e in found.values())


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_for_this_machine_only(service: dict[str, Any]) -> None:
    assert service["ports"] and all(p.startswith("127.0.0.1:") for p in service["ports"])
    assert "network_mode" not in service and "privileged" not in service
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["init"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    # Without a key of the user's own it does not start, and none stands in the file.
    keys = service["environment"]["INTERPOSE_CLIENT_KEYS"]
    assert re.fullmatch(r"\$\{INTERPOSE_CLIENT_KEYS:\?[^}]+\}", keys)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_built_and_started_by_what_is_there(service: dict[str, Any]) -> None:
    build = service["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Containerfile"
    assert build["target"] in stages()
    command = json.loads(values(build["target"], "CMD")[-1])
    assert service["command"][: len(command)] == command
    mitmdump(service["command"][service["command"].index("--") + 1 :])
    hosts = {w.partition("=")[2] for w in service["command"] if w.startswith("served_hosts=")}
    assert hosts == COMPOSE["services"].keys()
    port = service["command"][service["command"].index("--port") + 1]
    assert all(published.endswith(f":{port}") for published in service["ports"])
    mounts = [volume.replace(":-", "").rsplit(":") for volume in service["volumes"]]
    assert mounts[0][0] in COMPOSE["volumes"] and mounts[0][1] == "/data"
    assert mounts[1][1:] == ["/policies", "ro"]
    policy = re.fullmatch(r"/policies/\$\{\w+:-(.+)\}", service["environment"]["INTERPOSE_POLICY"])
    assert policy and (ROOT / "policies" / policy[1]).is_file()
    assert {"allow_remote", "served_hosts", "client_keys"} <= our_options()


def test_what_compose_reads_keys_from_is_never_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    for service in COMPOSE["services"].values():
        for file in service["env_file"]:
            assert f"deploy/{file['path']}" in ignored
    assert "deploy/.env" in ignored
    sent = (DEPLOY / "Containerfile.dockerignore").read_text().split()[1:]
    assert not [s for s in sent if fnmatch.fnmatch("deploy/keys.env", s.lstrip("!"))]


def test_client_keys_of_the_environment(tmp_path: Path) -> None:
    assert known_keys({}) == []
    assert known_keys({"INTERPOSE_CLIENT_KEYS": " one  two\n"}) == ["one", "two"]
    file = tmp_path / "keys"
    file.write_text("three\nfour\n")
    named = {"INTERPOSE_CLIENT_KEYS": "one", "INTERPOSE_CLIENT_KEYS_FILE": str(file)}
    assert known_keys(named) == ["three", "four"]
    with pytest.raises(ValueError, match=r"CLIENT_KEYS_FILE: .*nowhere cannot be read: No such"):
        known_keys({"INTERPOSE_CLIENT_KEYS_FILE": str(tmp_path / "nowhere")})
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="it is no text"):
        known_keys(named)


def test_a_chain_for_one_session_asks_for_no_client_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: dict[str, Any] = {}
    monkeypatch.setenv("INTERPOSE_CLIENT_KEYS", "of-others")
    monkeypatch.setattr(chain.subprocess, "Popen", lambda words, **how: started.update(how))
    made = chain.Chain(chain.Options(None, chain.NOWHERE, None, None, ""))
    made._start()
    made._temporary.cleanup()
    assert "PATH" in started["env"] and "INTERPOSE_CLIENT_KEYS" not in started["env"]
