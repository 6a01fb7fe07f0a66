"""``interpose policy``: check, schema, import, explain and diff, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shim.cli import main
from shim.policy import reference
from shim.policy.load import load_policy

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FLOW = str(ROOT / "flows" / "apply-patch.flow")
GOOD = """\
# yaml-language-server: $schema=./schema.json
providers: {up: {base_url: "http://127.0.0.1:9/v1"}}
models:
  big: {provider: up, price: {input: 10, output: 30}}
  small: {provider: up, price: {input: 1, output: 3}}
default: big
"""


def test_the_schema_and_the_reference_are_those_of_the_code() -> None:
    hint = "run python -m shim.policy.reference"
    assert reference.SCHEMA.read_text("utf-8") == reference.schema_text(), hint
    assert reference.PAGE.read_text("utf-8") == reference.page(), hint


def test_every_field_has_its_line() -> None:
    for name, kind in reference.schema()["$defs"].items():
        for field, info in kind["properties"].items():
            said = info.get("description", "")
            assert 8 < len(said) < 100 and said.endswith((".", "…")), f"{name}.{field}: {said!r}"


def test_check_tells_errors_and_warnings_by_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, warned, bad = (tmp_path / name for name in ("good.yaml", "warned.yaml", "bad.yaml"))
    good.write_text(GOOD)
    warned.write_text(GOOD + "catch: [{when: {position: newest}, drop: true}]\n")
    bad.write_text(GOOD.replace("default: big", "default: bgi") + "rout: []\n")
    assert main(["policy", "check", str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: good\n"
    assert main(["policy", "check", str(warned)]) == 0
    said = capsys.readouterr().out
    assert f"{warned}:7:9: warning: catch[0]: rewrites" in said and "with 1 warning" in said
    assert main(["policy", "check", "--strict", str(warned)]) == 1
    capsys.readouterr()
    assert main(["policy", "check", str(bad), str(good)]) == 1
    out = capsys.readouterr().out
    assert f"{bad}:7:1: error: rout: unknown field; did you mean route?" in out
    assert f"{good}: good" in out
    assert main(["policy", "check", "--json", str(tmp_path / "none.yaml")]) == 1
    found = json.loads(capsys.readouterr().out)[str(tmp_path / "none.yaml")]
    assert "cannot be read" in found["errors"][0]["message"]


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Interpose policy"


def test_import_writes_a_file_once_and_for_its_owner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models, made = tmp_path / "models.json", tmp_path / "policy.yaml"
    models.write_text(json.dumps({"launchModels": ["qwen3:8b"]}))
    words = ["policy", "import", str(models), "-o", str(made)]
    assert main(words) == 0
    assert load_policy(made).default == "qwen3-8b" and made.stat().st_mode & 0o077 == 0
    capsys.readouterr()
    assert main(words) == 1
    assert "is there already" in capsys.readouterr().err
    models.write_text("{")
    assert main(["policy", "import", str(models)]) == 1
    assert capsys.readouterr().err.startswith(f"interpose: {models}: is not valid JSON")


def test_explain_and_diff_read_recordings(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(GOOD)
    new.write_text(
        GOOD
        + """\
route: [{name: short, when: {smaller_than: 50k}, to: small}]
tools: {write_stdin: {remove: true}}
catch: [{name: pinned, inject: {text: Keep to the point.}}]
"""
    )
    assert main(["policy", "diff", str(old), str(old), FLOW]) == 0
    assert "3 exchanges, 0 changed" in capfd.readouterr().out
    assert main(["policy", "diff", str(old), str(new), FLOW]) == 1
    said = capfd.readouterr().out
    assert "route big → small, by the rule short" in said
    assert "tool write_stdin taken away" in said and "rule pinned applied once" in said
    assert "3 exchanges, 3 changed · 3 routed elsewhere" in said
    assert main(["policy", "diff", "--json", str(old), str(new), FLOW]) == 1
    total = json.loads(capfd.readouterr().out)
    assert total["dollars"][1] < total["dollars"][0] and total["refused"] == [0, 0]
    new.write_text(GOOD + "catch: [{name: 'no', when: {role: user}, refuse: Not today.}]\n")
    assert main(["policy", "diff", str(old), str(new), FLOW]) == 1
    assert "refused: Not today. (rule no)" in capfd.readouterr().out
    limits = "limits: [{name: l, tokens: 8, then: cheaper, to: small}, {name: m, tokens: 15}]\n"
    new.write_text(GOOD + limits)
    assert main(["policy", "diff", str(old), str(new), FLOW]) == 1
    said = capfd.readouterr().out
    assert "by the limit l" in said and "The limit m is used up" in said
    new.write_text(GOOD + "catch: [{name: 'no', when: {role: user}, refuse: Not today.}]\n")
    assert main(["policy", "explain", FLOW, "--policy", str(new)]) == 0
    said = capfd.readouterr().out
    assert "route: upstream/vendor/model by the model's name" in said
    assert "refused: Not today. (rule no)" in said
    assert main(["policy", "explain", FLOW, "--exchange", "nothing"]) == 2
    assert main(["policy", "diff", str(old), str(new), str(tmp_path)]) == 2
    assert "no recorded exchanges" in capfd.readouterr().err
