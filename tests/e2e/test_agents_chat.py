"""`interpose chat` with an agent, and a client that asks as web interfaces do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.agents import Agents, png
from tests.e2e.chain import ROOT

POLICY = """
models:
  demo: { provider: demo }
agents:
  cursor: { use: cursor }
default: demo
"""


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    with Agents(tmp_path, POLICY) as chain:
        (tmp_path / "state" / "login").touch()
        yield chain


def chat(chain: Agents, *lines: str, model: str = "cursor") -> subprocess.CompletedProcess[str]:
    interpose = str(Path(sys.executable).parent / "interpose")
    return subprocess.run(
        [interpose, "chat", "--url", chain.url, "--model", model],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )


def test_a_chat(agents: Agents) -> None:
    picture = agents.place / "dot.png"
    picture.write_bytes(png(4, 4))
    done = chat(
        agents, "one", f"/image {picture}", "two", "/reset", "three", "/image no.png", "/what",
        "/model demo", "What is 17 * 3?", "/exit", "never",
    )  # fmt: skip
    said = done.stdout
    assert done.returncode == 0 and not done.stderr, done
    assert "Told 1 times, ha ha: one" in said and "Told 2 times, ha ha: two" in said
    assert "image-1.png" in said and "Told 1 times, ha ha: three" in said
    assert "No such file or directory" in said and "/reset begins anew" in said
    assert "17 * 3 = 51" in said and "never" not in said


def test_a_chat_whose_last_turn_fails(agents: Agents) -> None:
    done = chat(agents, "one", "crash")
    assert done.returncode == 1 and "cursor-agent ended with code 3" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    done = chat(agents, "x", model="nobody:x")
    # A name that the policy does not know is the default's.
    assert done.returncode == 0


def stream(client: httpx.Client, messages: list[Any]) -> str:
    body = {"model": "cursor", "messages": messages, "stream": True}
    text = ""
    with client.stream("POST", "chat/completions", json=body) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    text += choice["delta"].get("content") or ""
    return text


def test_a_web_interface(agents: Agents) -> None:
    """It asks for the models, streams with the whole history, and has a title made meanwhile; of
    the conversation it names nothing but its user."""
    with httpx.Client(
        base_url=f"{agents.url}/", trust_env=False, timeout=60, headers={"x-user-id": "u-1"}
    ) as client, ThreadPoolExecutor() as pool:  # fmt: skip
        assert "cursor" in {model["id"] for model in client.get("models").json()["data"]}
        messages: list[Any] = [{"role": "system", "content": "Be brief."}]
        for number, text in enumerate(("one", "two", "three"), 1):
            messages.append({"role": "user", "content": text})
            answer = pool.submit(stream, client, messages)
            title = {"model": "demo", "messages": [{"role": "user", "content": "A title?"}]}
            assert client.post("chat/completions", json=title).status_code == 200
            said = answer.result(60)
            assert said.startswith(f"Told {number} times") and said.endswith(text)
            messages.append({"role": "assistant", "content": said})
