"""The chain's commands, as mitmproxy's prompt and mitmweb call them."""

from __future__ import annotations

from pathlib import Path

import pytest
from mitmproxy import ctx, exceptions, http
from mitmproxy.addons.view import View
from mitmproxy.io import FlowReader

from addons.commands import Commands
from addons.flowfile import read
from addons.replay import main as replay
from shim.policy.store import PolicyStore
from tests.addons.harness import Stages, stages

__all__ = ["stages"]

FLOWS = Path(__file__).resolve().parents[2] / "flows"
GOOD = """
providers: {up: {base_url: "http://127.0.0.1:9/v1"}}
models: {m: {provider: up}, other: {provider: up}}
default: m
"""


@pytest.fixture
def commands(stages: Stages) -> Commands:
    return stages.one(Commands)  # type: ignore[no-any-return]


def recorded() -> list[http.HTTPFlow]:
    with (FLOWS / "apply-patch.flow").open("rb") as file:
        return [f for f in FlowReader(file).stream() if isinstance(f, http.HTTPFlow)]


def test_check(commands: Commands, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(GOOD)
    assert commands.check(str(file)) == f"{file}: good"  # type: ignore[arg-type]
    file.write_text(GOOD + "rout: []")
    assert "rout: unknown field; did you mean route?" in commands.check(str(file))  # type: ignore[arg-type]
    with pytest.raises(exceptions.CommandError, match="cannot be read"):
        commands.check(str(tmp_path / "none"))  # type: ignore[arg-type]


def test_they_are_known_to_mitmproxy(commands: Commands, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(GOOD)
    said = ctx.master.commands.execute(f"interpose.policy.check {file}")
    assert said == f"{file}: good"
    known = {name for name in ctx.master.commands.commands if name.startswith("interpose.")}
    names = {"policy.check", "policy.reload", "policy.diff", "explain", "fixture"}
    assert known == {f"interpose.{name}" for name in names}


def test_reload(commands: Commands, stages: Stages, tmp_path: Path) -> None:
    with pytest.raises(exceptions.CommandError, match="no policy file"):
        commands.reload()
    file = tmp_path / "p.yaml"
    file.write_text(GOOD)
    stages.services.policies = PolicyStore(file)
    assert commands.reload() == f"{file} read again"
    file.write_text("models: [")
    with pytest.raises(exceptions.CommandError, match="not valid YAML"):
        commands.reload()


def test_explain_and_diff(commands: Commands, stages: Stages, tmp_path: Path) -> None:
    told = commands.explain(recorded())
    assert "test-model → upstream/vendor/model · 200" in told
    assert "  route: upstream/vendor/model by the model's name" in told
    assert commands.explain([]) == "none of these flows is an exchange of the chain"
    (tmp_path / "old.yaml").write_text(GOOD)
    stages.services.policies = PolicyStore(tmp_path / "old.yaml")
    new = tmp_path / "new.yaml"
    new.write_text(GOOD)
    assert commands.diff(str(new), recorded()) == "nothing would change"  # type: ignore[arg-type]
    new.write_text(GOOD + "route: [{name: all, to: other}]")
    assert "route m → other, by the rule all" in commands.diff(str(new), recorded())  # type: ignore[arg-type]
    new.write_text("x")
    with pytest.raises(exceptions.CommandError, match="must be a mapping"):
        commands.diff(str(new), recorded())  # type: ignore[arg-type]


def test_a_fixture_of_chosen_exchanges(commands: Commands, tmp_path: Path) -> None:
    file, flows = tmp_path / "deep" / "fixture.flow", recorded()
    flows[0].request.headers["x-note"] = "ghp_" + "a1" * 20
    before = [f.get_state() for f in flows]
    assert commands.fixture(flows[:4], str(file)) == f"{file}: 2 exchanges"  # type: ignore[arg-type]
    assert [f.get_state() for f in flows] == before
    assert len(list(read(file))) == 2 and replay([str(file)]) == 0
    assert b"a1a1a1" not in file.read_bytes() and b"[redacted-1]" in file.read_bytes()


def test_one_leg_stands_for_its_exchange(commands: Commands, tmp_path: Path) -> None:
    view = View()
    view.add(recorded())
    ctx.master.addons.add(view)
    file = tmp_path / "one.flow"
    said = commands.fixture(view.resolve("@all")[1:2], str(file))  # type: ignore[arg-type]
    assert said == f"{file}: 1 exchange"
    (one,) = read(file)
    assert one.upstream_request and one.response
    said = ctx.master.commands.execute(f"interpose.fixture @all {tmp_path / 'all.flow'}")
    assert said == f"{tmp_path / 'all.flow'}: 3 exchanges"


def test_a_fixture_that_cannot_be(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(exceptions.CommandError, match="none of these flows is an exchange"):
        commands.fixture([], str(tmp_path / "x.flow"))  # type: ignore[arg-type]
    with pytest.raises(exceptions.CommandError, match=r"file/x\.flow: "):
        commands.fixture(recorded(), str(tmp_path / "file" / "x.flow"))  # type: ignore[arg-type]
    assert not (tmp_path / "x.flow").exists()
