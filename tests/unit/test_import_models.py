"""A codex-shim models.json becomes a policy: every form of such files, and what is no such file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shim.policy.imports import ImportFailed, import_models
from shim.policy.load import parse_policy
from shim.policy.schema import Policy
from shim.route.choose import choose


def made(tmp_path: Path, data: Any, **more: Any) -> tuple[Policy, list[str], str]:
    file = tmp_path / "models.json"
    file.write_text(data if isinstance(data, str) else json.dumps(data))
    text, notes = import_models(file, **more)
    return parse_policy(text, "made"), notes, text


SNAKE = {
    "model": "openai/gpt-4o-mini",
    "provider": "generic-chat-completion-api",
    "base_url": "https://openrouter.ai/api/v1/",
    "api_key": "sk-or-literal",
    "display_name": "GPT-4o Mini",
    "max_context_limit": 128000,
    "extra_headers": {"x-title": "me"},
}
CAMEL = {
    "model": "claude-opus-4-7",
    "provider": "anthropic",
    "baseUrl": "https://api.anthropic.com",
    "apiKey": "${ANTHROPIC_API_KEY}",
    "displayName": "Opus",
    "maxContextLimit": 200000,
    "noImageSupport": True,
}


@pytest.mark.parametrize("name", ["models", "customModels", "launchModels", "launch_models", None])
def test_every_list_and_either_case(tmp_path: Path, name: str | None) -> None:
    rows = [SNAKE, CAMEL]
    policy, notes, text = made(tmp_path, {name: rows} if name else rows)
    assert policy.default == "openai-gpt-4o-mini"
    mini, opus = policy.models["openai-gpt-4o-mini"], policy.models["claude-opus-4-7"]
    assert (mini.model, mini.context_window, mini.images) == ("openai/gpt-4o-mini", 128000, True)
    assert (opus.model, opus.context_window, opus.images) == (None, 200000, False)
    router, anthropic = policy.providers["openrouter"], policy.providers["anthropic"]
    assert router.base_url == "https://openrouter.ai/api/v1" and router.protocol == "chat"
    assert router.headers == {"x-title": "me"} and router.key == "${OPENROUTER_API_KEY}"
    assert (anthropic.base_url, anthropic.protocol) == ("https://api.anthropic.com/v1", "messages")
    assert anthropic.key == "${ANTHROPIC_API_KEY}"
    assert "sk-or-literal" not in text and any("OPENROUTER_API_KEY" in n for n in notes)
    assert choose(policy, "claude-opus-4-7").provider == "anthropic"


def test_bare_strings_and_ollama_are_a_local_ollama(tmp_path: Path) -> None:
    rows = ["qwen3:8b", {"model": "llama3.2", "provider": "Ollama"}]
    policy, _, _ = made(tmp_path, {"launch_models": rows})
    assert list(policy.models) == ["qwen3-8b", "llama3-2"]
    assert policy.models["qwen3-8b"].model == "qwen3:8b"
    assert list(policy.providers) == ["ollama"]
    assert policy.providers["ollama"].base_url == "http://127.0.0.1:11434/v1"
    assert policy.providers["ollama"].auth == "none"


def test_the_same_address_with_another_key_is_another_provider(tmp_path: Path) -> None:
    rows = [SNAKE, {**SNAKE, "api_key": "${OTHER}"}, SNAKE]
    policy, _, _ = made(tmp_path, rows)
    assert list(policy.providers) == ["openrouter", "openrouter-2"]
    names = ["openai-gpt-4o-mini", "openai-gpt-4o-mini-2", "openai-gpt-4o-mini-3"]
    assert list(policy.models) == names
    assert [policy.models[n].provider for n in names] == [
        "openrouter",
        "openrouter-2",
        "openrouter",
    ]


def test_keys_are_kept_only_when_wanted(tmp_path: Path) -> None:
    policy, notes, _ = made(tmp_path, [SNAKE], keep_keys=True)
    assert policy.providers["openrouter"].key == "sk-or-literal" and not notes


def test_what_cannot_be_used_is_named_and_the_rest_is_taken(tmp_path: Path) -> None:
    policy, notes, _ = made(tmp_path, [5, {"model": "m"}, {"base_url": "http://x"}, "good"])
    assert list(policy.models) == ["good"]
    assert [n.partition(":")[0] for n in notes] == ["entry 0", "entry 1 (m)", "entry 2 (no name)"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{", "not valid JSON"),
        ({"x": []}, "no list of models"),
        ({"models": {}}, "no list of models"),
        ([], "no model that can be used"),
        ("\ufeff[]", "no model"),
    ],
)
def test_what_is_no_such_file_is_said_in_a_line(tmp_path: Path, data: Any, words: str) -> None:
    with pytest.raises(ImportFailed, match=words) as raised:
        made(tmp_path, data)
    assert "models.json" in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(ImportFailed, match="cannot be read"):
        import_models(tmp_path / "none.json")
