"""The isolated CODEX_HOME and its catalog, as far as no Codex is needed to judge them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from shim.codex import find
from shim.codex.catalog import base_instructions, catalog, etag, merged
from shim.codex.config import Setting
from shim.codex.home import HomeError, keep_home, paste_lines, write_home
from shim.policy.load import parse_policy
from shim.policy.schema import Policy

POLICY = parse_policy("""
providers:
  openrouter: { base_url: "https://openrouter.ai/api/v1", key: "${OPENROUTER_API_KEY}" }
models:
  demo: { provider: demo }
  kimi-k2:
    provider: openrouter
    model: moonshotai/kimi-k2
    context_window: 200000
    images: false
    reasoning: [low, high]
default: kimi-k2
""")
URL = "http://127.0.0.1:8080/v1"

# The fields Codex 0.169 insists on; one entry without one of them kills the whole catalog.
REQUIRED = {
    "slug", "display_name", "supported_reasoning_levels", "shell_type", "visibility",
    "supported_in_api", "priority", "support_verbosity", "truncation_policy",
    "experimental_supported_tools", "base_instructions",
}  # fmt: skip


def entries(policy: Policy, *also: str) -> dict[str, dict]:
    return {entry["slug"]: entry for entry in catalog(policy, also)["models"]}


def test_an_entry_says_what_the_policy_says() -> None:
    entry = entries(POLICY)["kimi-k2"]
    assert entry["context_window"] == entry["max_context_window"] == 200000
    assert entry["input_modalities"] == ["text"]
    assert [level["effort"] for level in entry["supported_reasoning_levels"]] == ["low", "high"]
    assert entry["default_reasoning_level"] in ("low", "high")
    assert entry["apply_patch_tool_type"] == "freeform"
    assert entries(POLICY)["demo"]["input_modalities"] == ["text", "image"]
    assert entries(POLICY)["demo"]["default_reasoning_level"] is None


def test_every_entry_has_what_codex_insists_on() -> None:
    for entry in entries(POLICY, "openrouter:qwen/qwen3-coder").values():
        assert set(entry) >= REQUIRED
        assert entry["base_instructions"] == base_instructions()


def test_the_default_model_comes_first() -> None:
    models = catalog(POLICY)["models"]
    assert models[0]["slug"] == "kimi-k2"
    assert [entry["priority"] for entry in models] == [1, 2]


@pytest.mark.parametrize("policy", [Policy(), POLICY])
def test_there_is_always_an_entry(policy: Policy) -> None:
    assert catalog(policy)["models"]


def test_a_default_outside_the_model_list_gets_an_entry() -> None:
    policy = Policy(providers=POLICY.providers, default="openrouter:qwen/qwen3-coder")
    assert "openrouter:qwen/qwen3-coder" in entries(policy)


def test_the_limit_for_compaction_is_the_policys_or_codexs_own() -> None:
    policy = parse_policy("models: {a: {provider: demo, compact_at: 60000}, b: {provider: demo}}")
    found = entries(policy)
    assert found["a"]["auto_compact_token_limit"] == 60000
    assert found["b"]["auto_compact_token_limit"] is None


def test_codexs_own_models_come_behind_the_policys() -> None:
    own = [{"slug": name, "priority": 1, "more": True} for name in ("gpt-a", "gpt-b", "kimi-k2")]
    made = merged(catalog(POLICY), own, ["gpt-b", "kimi-k2", "gpt-b"])["models"]
    assert [(e["slug"], e["priority"]) for e in made] == [("kimi-k2", 1), ("demo", 2), ("gpt-b", 3)]
    assert made[2]["more"] is True and "more" not in made[0]
    assert own[1]["priority"] == 1
    with pytest.raises(KeyError, match="gpt-z"):
        merged(catalog(POLICY), own, ["gpt-z"])


def test_a_kept_home_keeps_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERPOSE_HOME", str(tmp_path / "state"))
    setting = Setting("demo", URL, ["/opt/interpose", "ensure"])
    file = keep_home(tmp_path / "home", setting) / "config.toml"
    seeded = tomllib.loads(file.read_text())
    assert seeded["model_providers"]["interpose"] == setting.values()
    assert seeded["web_search"] == "disabled" and "model_catalog_json" not in seeded
    assert "unbounded_connection_retries" not in seeded["features"]
    file.write_text(file.read_text() + '[projects."/x"]\ntrust_level = "trusted"\n')
    before = file.read_bytes()
    keep_home(tmp_path / "home", setting)
    assert file.read_bytes() == before
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(HomeError, match="never touches"):
        keep_home("~/.codex", setting)


def test_the_etag_changes_with_the_catalog_and_only_then() -> None:
    assert etag(catalog(POLICY)) == etag(catalog(POLICY))
    assert etag(catalog(POLICY)) != etag(catalog(POLICY, ["another"]))
    assert etag(catalog(POLICY))[0] == etag(catalog(POLICY))[-1] == '"'


def test_the_instructions_teach_the_patch_format() -> None:
    text = base_instructions()
    assert "*** Begin Patch\n" in text and "*** End Patch\n" in text
    assert len(text) < 6000


def test_the_home_is_plain_utf8_toml_and_json(tmp_path: Path) -> None:
    home = write_home(tmp_path / "home", URL, POLICY)
    for name in ("config.toml", "models.json"):
        assert not (home / name).read_bytes().startswith(b"\xef\xbb\xbf")
    config = tomllib.loads((home / "config.toml").read_text("utf-8"))
    assert config["model"] == "kimi-k2"
    assert config["model_provider"] == "interpose"
    assert config["web_search"] == "disabled"
    assert config["features"]["unbounded_connection_retries"] is False
    assert config["model_providers"]["interpose"] == {
        "name": "Interpose",
        "base_url": URL,
        "wire_api": "responses",
        "env_key": "INTERPOSE_KEY",
    }
    listed = json.loads(Path(config["model_catalog_json"]).read_text("utf-8"))
    assert listed == catalog(POLICY)


def test_a_model_named_by_hand_is_asked_for_and_listed(tmp_path: Path) -> None:
    home = write_home(tmp_path, URL, POLICY, "openrouter:qwen/qwen3-coder", "MY_KEY")
    config = tomllib.loads((home / "config.toml").read_text())
    assert config["model"] == "openrouter:qwen/qwen3-coder"
    assert config["model_providers"]["interpose"]["env_key"] == "MY_KEY"
    listed = json.loads((home / "models.json").read_text())
    assert "openrouter:qwen/qwen3-coder" in [entry["slug"] for entry in listed["models"]]


def test_writing_again_keeps_what_codex_put_there(tmp_path: Path) -> None:
    write_home(tmp_path, URL, POLICY)
    (tmp_path / "history.jsonl").write_text("{}\n")
    write_home(tmp_path, "http://127.0.0.1:9090/v1", POLICY)
    assert (tmp_path / "history.jsonl").read_text() == "{}\n"
    assert "9090" in (tmp_path / "config.toml").read_text()


def test_codexs_own_home_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    own = tmp_path / ".codex"
    own.mkdir()
    (tmp_path / "link").symlink_to(own)
    for folder in ("~/.codex", own, tmp_path / "link", f"{tmp_path}/x/../.codex"):
        with pytest.raises(HomeError, match="never touches"):
            write_home(folder, URL, POLICY)
    assert list(own.iterdir()) == []


def test_a_config_of_the_user_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('model = "gpt-5.5"\n')
    with pytest.raises(HomeError, match="not Interpose's"):
        write_home(tmp_path, URL, POLICY)
    assert (tmp_path / "config.toml").read_text() == 'model = "gpt-5.5"\n'
    assert not (tmp_path / "models.json").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError) as caught:
        write_home(tmp_path / "file" / "home", URL, POLICY)
    assert "\n" not in str(caught.value) and "file" in str(caught.value)


@pytest.mark.parametrize("listed", [True, False])
def test_the_lines_to_paste_are_a_config(listed: bool) -> None:
    config = tomllib.loads(paste_lines(URL, "kimi-k2", listed))
    table = config["model_providers"]["interpose"]
    assert (config["model"], table["base_url"]) == ("kimi-k2", URL)
    assert table.get("model_catalog_url") == (f"{URL}/models" if listed else None)


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_codex_is_taken_from_the_variable_then_path_then_the_local_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "local_folder", lambda: tmp_path / "local")
    monkeypatch.delenv("CODEX_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(find.CodexMissing, match="npm install -g @openai/codex@"):
        find.codex()
    local = executable(
        tmp_path / "local" / f"codex-{find.PINNED}" / "node_modules" / ".bin" / "codex"
    )
    assert find.codex() == local
    on_path = executable(tmp_path / "bin" / "codex")
    assert find.codex() == on_path
    named = executable(tmp_path / "mine")
    monkeypatch.setenv("CODEX_BIN", str(named))
    assert find.codex() == named
    monkeypatch.setenv("CODEX_BIN", str(tmp_path / "nothing"))
    with pytest.raises(find.CodexMissing, match="CODEX_BIN"):
        find.codex()


def test_npm_that_fails_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "local_folder", lambda: tmp_path / "local")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    npm = executable(tmp_path / "bin" / "npm")
    npm.write_text("#!/bin/sh\necho 'npm error code E404' >&2\nexit 1\n")
    with pytest.raises(find.CodexMissing, match="E404") as caught:
        find.install()
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "local").iterdir()) == []
