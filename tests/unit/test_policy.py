"""Policies: what is valid, and the one line that says what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shim.policy.load import MissingVariable, PolicyError, expand, load_policy, parse_policy
from shim.policy.store import PolicyStore

GOOD = """\
providers:
  openrouter: { base_url: "https://openrouter.ai/api/v1", protocol: chat, key: "${KEY}", headers: { x-title: Interpose } }
  local:      { base_url: "http://127.0.0.1:11434/v1", protocol: chat, key: any }
models:
  kimi-k2: { provider: openrouter, model: moonshotai/kimi-k2, context_window: 200000, images: false }
  llama:   { provider: local, model: llama3.2, context_window: 128000 }
default: kimi-k2
"""


def test_a_good_policy() -> None:
    policy = parse_policy(GOOD)
    assert policy.models["kimi-k2"].model == "moonshotai/kimi-k2"
    assert policy.providers["openrouter"].headers == {"x-title": "Interpose"}
    assert policy.default == "kimi-k2" and not policy.empty
    assert parse_policy("").empty and parse_policy("# nothing\n").empty


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "protocol: chat, key: any",
            "protocol: chatt",
            "p:3:56: providers.local.protocol: must be one of chat, messages, responses, is 'chatt'; did you mean chat?",
        ),
        ("images", "imges", "p:5:87: models.kimi-k2.imges: unknown field; did you mean images?"),
        (
            "200000",
            "lots",
            "p:5:63: models.kimi-k2.context_window: must be a whole number, is text",
        ),
        ("200000", "0", "p:5:63: models.kimi-k2.context_window: must be a number above 0 (tokens)"),
        (
            "default: kimi-k2",
            "default: kimi-k3",
            "p:7:1: default: no model kimi-k3; did you mean kimi-k2?",
        ),
        (
            "provider: local",
            "provider: locl",
            "p:6:14: models.llama.provider: no provider locl; did you mean local?",
        ),
        ("default", "defualt", "p:7:1: defualt: unknown field; did you mean default?"),
        (
            "http://127.0.0.1:11434",
            "ftp://x",
            "p:3:17: providers.local.base_url: must be an http:// or https:// address",
        ),
        (
            "http://127.0.0.1:11434",
            "http://u:pw@x",
            "p:3:17: providers.local.base_url: must not hold a password; use key or headers",
        ),
        (
            "  local:",
            "  demo:",
            "p:3:3: providers.demo: is built in and cannot be defined; rename it",
        ),
        ("models:", "models: [", "p:4:9: not valid YAML: the [ in column 9 is not closed"),
        ("  llama: ", "  kimi-k2: ", "p:6:3: models.kimi-k2: stands here twice"),
        ("default: kimi-k2", "default: [a]", "p:7:1: default: must be text, is a list"),
        ("default: kimi-k2", "- a", "p:7:1: not valid YAML: "),
    ],
)
def test_an_error_names_file_line_field_and_the_nearest_name(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(PolicyError) as e:
        parse_policy(GOOD.replace(old, new), "p")
    assert str(e.value).startswith(said)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "x",
        "providers: 3",
        "providers: {a: 3}",
        "models: {a: {}}",
        "a: &a [*a]",
        "? [1]\n: 2",
        "\x00",
        "default: !!python/object:x y",
    ],
)
def test_nonsense_gets_one_line(text: str) -> None:
    with pytest.raises(PolicyError) as e:
        parse_policy(text, "p")
    assert str(e.value).startswith("p:") and "\n" not in str(e.value)


def test_an_unreadable_file_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xff\xfe\x00x")
    for name in ("absent", "latin", "."):
        with pytest.raises(PolicyError, match=str(tmp_path)):
            load_policy(tmp_path / name)


def test_variables_are_read_when_needed() -> None:
    assert expand("a ${X_1} b", {"X_1": "v"}) == "a v b"
    with pytest.raises(MissingVariable, match="X_1"):
        expand("${X_1}", {"X_1": ""})


def test_an_edit_counts_at_once_and_a_broken_one_keeps_the_last_good_policy(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD)
    store = PolicyStore(path)
    assert store.current().default == "kimi-k2"
    path.write_text(GOOD.replace("default: kimi-k2", "default: llama"))
    os.utime(path, ns=(1, 1))
    assert store.current().default == "llama" and store.error is None
    path.write_text("models: [")
    os.utime(path, ns=(2, 2))
    assert store.current().default == "llama" and str(path) in str(store.error)
    path.unlink()
    assert store.current().default == "llama" and "cannot be read" in str(store.error)
    path.write_text(GOOD)
    assert store.current().default == "kimi-k2" and store.error is None
