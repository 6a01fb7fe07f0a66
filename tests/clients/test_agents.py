"""Clients and agents that are fetched: `llm` asks Codex, others answer as models."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from shim.codex.home import write_home
from shim.policy.schema import Policy
from tests.clients.brains import Move, View, speak
from tests.clients.installed import claude_code, llm, opencode
from tests.clients.page import opencode_config
from tests.clients.run import OPENCODE_PACKAGES
from tests.e2e.agents import Agents
from tests.e2e.chain import ROOT, poll
from tests.e2e.clients import KEY_NAME, codex_binary
from tests.e2e.test_agents_codex import people
from tests.e2e.upstreams import Upstream


def brain(view: View) -> Move:
    """Counts what it was told of the conversation; thinks of titles, too."""
    said = [text for text in people(view) if "<system-reminder>" not in text]
    asked = sum(word in " ".join(said) for word in ("apple", "pear", "plum"))
    return Move(f"I know of {asked} fruits.")


TURNS = ["an apple", "a pear", "a plum"]


def chain(folder: Path, url: str, agent: str, protocol: str = "chat") -> Agents:
    policy = f"""
models:
  mind-model: {{ provider: mind, context_window: 200000 }}
providers:
  mind: {{ base_url: "{url}/v1", protocol: {protocol}, key: "${{MIND_KEY}}" }}
default: mind-model
agents:
{agent}
"""
    return Agents(folder, policy, {"MIND_KEY": "mind-1a2b3c4d", KEY_NAME: "any"})


def test_llm_talks_with_codex(tmp_path: Path) -> None:
    agent = f"""
  codex:
    use: codex
    command: ["{codex_binary()}"]
    sandbox: danger-full-access
    git_check: false
    env: {{ {KEY_NAME}: "${{{KEY_NAME}}}" }}
"""
    with Upstream(speak("chat", brain)) as upstream:
        with chain(tmp_path, upstream.url, agent) as agents:
            write_home(
                tmp_path / "codex-home", agents.url, Policy(), "mind-model", env_key=KEY_NAME
            )
            home = tmp_path / "llm"
            home.mkdir()
            (home / "extra-openai-models.yaml").write_text(
                yaml.safe_dump(
                    [{"model_id": "c", "model_name": "codex", "api_base": agents.url}]
                )
            )
            env = {"PATH": os.environ["PATH"], "HOME": str(home), "LLM_USER_PATH": str(home)}
            env |= {"OPENAI_API_KEY": "any", "NO_PROXY": "127.0.0.1"}
            said = []
            for number, text in enumerate(TURNS):
                words = [str(llm()), "-m", "c", *(["-c"] if number else []), text]
                done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120)
                assert done.returncode == 0, done.stderr + agents.log()
                said.append(done.stdout.strip())
    assert said == [f"I know of {n} fruits." for n in (1, 2, 3)]


def entry(name: str, command: Path) -> dict[str, Any]:
    """The agent as policies/agents.yaml describes it, by this program."""
    found = yaml.safe_load((ROOT / "policies" / "agents.yaml").read_text())["agents"][name]
    found["command"][0] = str(command)
    return dict(found)


def described(
    folder: Path, url: str, protocol: str, agents: dict[str, dict[str, Any]],
    env: Callable[[str], dict[str, str]],
) -> Agents:  # fmt: skip
    """A chain with these agents, whose own models are behind it; ``env`` tells them so."""
    made = chain(folder, url, "", protocol)
    for agent in agents.values():
        agent["env"] = agent.get("env", {}) | env(made.origin)
    said = made.policy_file.read_text().partition("agents:")[0]
    made.policy_file.write_text(said + yaml.safe_dump({"agents": agents}))
    return made


def test_claude_code_as_a_model(tmp_path: Path) -> None:
    """By its entry in policies/agents.yaml alone; the session outlives the chain."""
    with Upstream(speak("messages", brain)) as upstream:

        def started() -> Agents:
            agent = entry("claude", claude_code())
            agent["models"] = ["mind-model"]
            return described(tmp_path, upstream.url, "messages", {"claude": agent}, lambda origin: {
                "ANTHROPIC_BASE_URL": origin,
                "ANTHROPIC_AUTH_TOKEN": "any",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                "IS_SANDBOX": "1",
            })  # fmt: skip

        session = {"x-session-id": "s"}
        with started() as agents:
            assert "claude:mind-model" in agents.models()
            said = [agents.said(TURNS[0], "claude:mind-model", headers=session, timeout=120)]
            answer = agents.post(
                "/v1/responses",
                json={"model": "claude:mind-model", "input": TURNS[1]},
                headers=session,
            )
            said.append(answer.json()["output"][-1]["content"][0]["text"])
        with started() as agents:
            said.append(agents.said(TURNS[2], "claude:mind-model", headers=session, timeout=120))
            poll(lambda: not agents.processes(), 20, "nothing is left")
    assert said == [f"I know of {n} fruits." for n in (1, 2, 3)]
    assert all(b"mind-1a2b3c4d" not in post.body for post in upstream.posts())


def test_opencode_as_a_model(tmp_path: Path) -> None:
    def env(origin: str) -> dict[str, str]:
        config = opencode_config(OPENCODE_PACKAGES["chat"], origin)
        config["provider"]["interpose"]["models"] = {"mind-model": {"name": "Mind"}}
        config |= {"autoupdate": False, "share": "disabled"}
        config |= {"model": "interpose/mind-model", "small_model": "interpose/mind-model"}
        return {
            "OPENCODE_CONFIG_CONTENT": json.dumps(config),
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        }

    agents = {"opencode": entry("opencode", opencode())}
    with Upstream(speak("chat", brain)) as upstream:
        with described(tmp_path, upstream.url, "chat", agents, env) as running:
            said = [
                running.said(text, "opencode", headers={"x-session-id": "s"}, timeout=120)
                for text in TURNS
            ]
    assert said == [f"I know of {n} fruits." for n in (1, 2, 3)]
