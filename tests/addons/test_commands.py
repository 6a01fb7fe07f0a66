"""The chain's commands, as mitmproxy's prompt and mitmweb call them."""

from __future__ import annotations

from pathlib import Path

import pytest
from mitmproxy import ctx, exceptions, http
from mitmproxy.io import FlowReader

from addons.commands import Commands
from shim.policy.store import PolicyStore
from tests.addons.test_chain import Stages, stages

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
    names = {"policy.check", "policy.reload", "policy.diff", "explain"}
    assert known == {f"interpose.{name}" for name in names}


def test_reload(commands: Commands, stages: Stages, tmp_path: Path) -> None:
    with pytest.raises(exceptions.CommandError, match="no policy file"):
        commands.reload()
    file = tmp_path / "p.yaml"
    file.write_text(GOOD)
    stages.chain.policies = PolicyStore(file)
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
    stages.chain.policies = PolicyStore(tmp_path / "old.yaml")
    new = tmp_path / "new.yaml"
    new.write_text(GOOD)
    assert commands.diff(str(new), recorded()) == "nothing would change"  # type: ignore[arg-type]
    new.write_text(GOOD + "route: [{name: all, to: other}]")
    assert "route m → other, by the rule all" in commands.diff(str(new), recorded())  # type: ignore[arg-type]
    new.write_text("x")
    with pytest.raises(exceptions.CommandError, match="must be a mapping"):
        commands.diff(str(new), recorded())  # type: ignore[arg-type]
