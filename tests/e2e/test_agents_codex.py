"""The real Codex as a model; its own model is behind the same chain."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from anthropic import Anthropic
from openai import BadRequestError, OpenAI

from shim.codex.home import write_home
from shim.policy.schema import Policy
from tests.clients.brains import Move, View, speak
from tests.e2e.agents import Agents, png
from tests.e2e.chain import poll
from tests.e2e.clients import KEY_NAME, codex_binary
from tests.e2e.upstreams import Upstream

DOT = png(8, 8)
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}


def people(view: View) -> list[str]:
    """What was said, without what Codex tells of the machine, a text per message."""
    return [t for t in view.said if not re.match(r"\s*(<(?!image)|# AGENTS|$)", t)]


def brain(view: View) -> Move:
    said = people(view)
    last = said[-1] if said else ""
    asked = sum(t in " ".join(said) for t in ("first", "second", "third"))
    if "sleep" in last:
        return Move("I sleep.", [("exec_command", {"cmd": "echo asleep > asleep; sleep 600"})])
    if "JSON" in last and not view.done:
        return Move("Let me look.", [("exec_command", {"cmd": "echo 17"})])
    if "JSON" in last:
        return Move('{"answer": "17"}')
    return Move(f"{asked} so far; now: {last}")


@pytest.fixture
def mind() -> Iterator[Upstream]:
    with Upstream(speak("chat", brain)) as upstream:
        yield upstream


def agents(folder: Path, mind: Upstream, more: str = "", model: str = "mind-model") -> Agents:
    """The chain; Codex's home sends it back here, for ``model``."""
    (folder / "work").mkdir(exist_ok=True)
    (folder / "pictures").mkdir(exist_ok=True)
    policy = f"""
models:
  mind-model: {{ provider: mind, context_window: 200000 }}
providers:
  mind: {{ base_url: "{mind.url.removesuffix('/v1')}/v1", protocol: chat, key: "${{MIND_KEY}}" }}
agents:
  codex:
    use: codex
    command: ["{codex_binary()}"]
    # Its own sandbox needs more than every test machine has.
    sandbox: danger-full-access
    git_check: false
    cwd: "{folder / "work"}"
    images_from: "{folder / "pictures"}"
    env: {{ {KEY_NAME}: "${{{KEY_NAME}}}" }}
    {more}
default: mind-model
"""
    chain = Agents(folder, policy, {"MIND_KEY": "mind-1a2b3c4d", KEY_NAME: "any"})
    write_home(folder / "codex-home", chain.url, Policy(), model, env_key=KEY_NAME)
    return chain


def chunks(answer: Any) -> tuple[str, str]:
    """What a stream says and thinks."""
    text = thought = ""
    for chunk in answer:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            thought += getattr(choice.delta, "reasoning_content", None) or ""
    return text, thought


@pytest.mark.full
def test_three_turns_with_the_openai_sdk(tmp_path: Path, mind: Upstream) -> None:
    """Over a restart; streamed, with an image, with what it does, in the form of a schema."""
    own = {"session_id": "talk"}
    with agents(tmp_path, mind) as chain:
        client = OpenAI(base_url=chain.url, api_key="any", max_retries=0)
        talk = [{"role": "user", "content": "first"}]
        answer = client.chat.completions.create(model="codex", messages=talk, extra_body=own)
        assert answer.choices[0].message.content == "1 so far; now: first", chain.log()
        assert answer.usage and answer.usage.prompt_tokens
        talk += [{"role": "assistant", "content": "1"}, {"role": "user", "content": "second"}]
        text, _ = chunks(
            client.chat.completions.create(
                model="codex", messages=talk, stream=True, extra_body=own
            )
        )
        assert text == "2 so far; now: second"
        poll(lambda: not chain.leftovers(), 20, "its files are gone")
    with agents(tmp_path, mind) as chain:
        client = OpenAI(base_url=chain.url, api_key="any", max_retries=0)
        url = f"data:image/png;base64,{base64.b64encode(DOT).decode()}"
        parts = [
            {"type": "text", "text": "third"},
            {"type": "image_url", "image_url": {"url": url}},
        ]
        # Only what is new: the thread knows the rest.
        answer = client.chat.completions.create(
            model="codex:mind-model:high", messages=[{"role": "user", "content": parts}],
            extra_body=own,
        )  # fmt: skip
        assert (answer.choices[0].message.content or "").startswith("3 so far"), chain.log()
        sent = mind.posts()[-1].json()
        assert "data:image/png;base64" in json.dumps(sent) and sent["reasoning_effort"] == "high"
        form = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
        answer = client.chat.completions.create(
            model="codex", messages=[{"role": "user", "content": "JSON please"}],
            response_format=form,
        )  # fmt: skip
        # What it said before it had the answer is none of it.
        assert json.loads(answer.choices[0].message.content or "") == {"answer": "17"}
        form = {"type": "json_schema", "json_schema": {"name": "a"}}
        with pytest.raises(BadRequestError, match="needs a schema"):
            client.chat.completions.create(
                model="codex", messages=[{"role": "user", "content": "JSON"}], response_format=form
            )
        (tmp_path / "secret.png").write_bytes(DOT)
        (tmp_path / "pictures" / "ok.png").write_bytes(DOT)
        for path in (tmp_path / "secret.png", tmp_path / "pictures" / ".." / "secret.png"):
            with pytest.raises(BadRequestError, match="no such file in the folder"):
                parts = [{"type": "image_url", "image_url": {"url": path.as_uri()}}]
                client.chat.completions.create(
                    model="codex", messages=[{"role": "user", "content": parts}]
                )
        parts = [{"type": "local_image", "path": str(tmp_path / "pictures" / "ok.png")}]
        assert chain.said([{"type": "text", "text": "local"}, *parts], "codex")
        assert "data:image/png;base64" in json.dumps(mind.posts()[-1].json())
        poll(lambda: not chain.processes(), 20, "Codex is gone")
        poll(lambda: not chain.leftovers(), 20, "its files are gone")
    # What the chain pays with is none of an agent's business.
    assert all(b"mind-1a2b3c4d" not in post.body for post in mind.posts())


@pytest.mark.full
def test_the_other_protocols_and_what_it_does(tmp_path: Path, mind: Upstream) -> None:
    with agents(tmp_path, mind) as chain:
        client = OpenAI(base_url=chain.url, api_key="any", max_retries=0)
        first = client.responses.create(model="codex", input="first")
        assert first.output_text == "1 so far; now: first"
        second = client.responses.create(
            model="codex", input="second", previous_response_id=first.id
        )
        assert second.output_text.startswith("2 so far")
        found = Anthropic(base_url=chain.origin, api_key="any", max_retries=0).messages.create(
            model="codex", max_tokens=100, messages=[{"role": "user", "content": "JSON please"}]
        )
        said = [(b.type, getattr(b, "thinking", getattr(b, "text", ""))) for b in found.content]
        assert any("echo 17" in text for kind, text in said if kind == "thinking"), said
        assert said[-1] == ("text", 'Let me look.\n\n{"answer": "17"}')
        names = {model.id for model in client.models.list()}
        assert {"codex", "codex:mind-model", "mind-model"} <= names


@pytest.mark.full
def test_a_cancelled_turn(tmp_path: Path, mind: Upstream) -> None:
    """What it runs ends with it, and the thread goes on."""
    session = {"x-session-id": "s"}
    with agents(tmp_path, mind) as chain, ThreadPoolExecutor() as pool:
        assert chain.said("first", "codex", headers=session)
        stop = httpx.Client(trust_env=False, timeout=60)
        said = [{"role": "user", "content": "sleep"}]
        body = {"model": "codex", "stream": True, "messages": said}

        def read() -> bytes:
            with stop.stream(
                "POST", f"{chain.url}/chat/completions", json=body, headers=session
            ) as answer:
                for piece in answer.iter_bytes():
                    if b"sleep 600" in piece:
                        return piece
            return b""

        assert pool.submit(read).result(60)
        poll((tmp_path / "work" / "asleep").exists, 20, "the command runs")
        poll(lambda: not chain.processes(), 20, "Codex and its command are gone")
        assert chain.said("second", "codex", headers=session).startswith("2 so far")


def test_it_does_not_ask_itself(tmp_path: Path, mind: Upstream) -> None:
    with agents(tmp_path, mind, model="codex") as chain:
        status, said = chain.refused("first", "codex")
        assert "codex asks itself (codex → codex)" in said and status == 424
        assert not mind.posts()


@pytest.mark.full
def test_a_session_can_be_required(tmp_path: Path, mind: Upstream) -> None:
    with agents(tmp_path, mind, "require_session: true") as chain:
        status, said = chain.refused("first", "codex")
        assert status == 400 and said.endswith(
            "a session is required: name it in session_id, or in x-session-id"
        )
        assert chain.said("first", "codex", user="somebody").startswith("1 so far")
