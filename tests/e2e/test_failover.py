"""Failover: the first upstream is down, refuses or dies; the turn is answered by the second, and
the client's user sees nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.e2e.answers import SSE, chat_chunk, chat_turn, error, sse
from tests.e2e.chain import Chain, poll
from tests.e2e.clients import CODEX, OLD_CODEX, run_codex
from tests.e2e.upstreams import Answer, Seen, Upstream, closed_port

BUSY = {"error": {"message": "The engine is overloaded.", "type": "server_error"}}
FAILURES: dict[str, Answer | None] = {
    "refused": None,
    "429": error(429, "Too many requests.", "rate_limit_error"),
    "429-later": error(429, "Too many.", "rate_limit_error", headers={"retry-after": "30"}),
    "500": error(500, "Internal trouble.", "server_error"),
    "503": error(503, "Come back later.", "server_error"),
    "529": error(529, "Overloaded.", "overloaded_error"),
    "no-answer": Answer(200, SSE, [], cut="head"),
}
#: What no addon can turn into a 307: the client's own retry finds the second upstream.
LATE = {
    "dies-after-head": Answer(200, SSE, [], cut="body"),
    "error-in-stream": Answer(200, SSE, sse([BUSY], done=False)),
    "dies-in-stream": Answer(
        200, SSE, sse([chat_chunk({"content": "I am"})], done=False), cut="body"
    ),
}
POLICY = """
providers:
  good: {{ base_url: "{good}/v1", key: g }}
{providers}
models:
  second: {{ provider: good }}
{models}
"""


def well(seen: Seen) -> Answer:
    return chat_turn("All is well.", (), (), bool(seen.json().get("stream")))


class Setup:
    """One chain before an upstream per failure and one that works."""

    def __init__(self, stack: ExitStack) -> None:
        self.good = stack.enter_context(Upstream(well))
        self.bad: dict[str, Upstream | None] = {}
        providers, models = [], []
        for name, answer in {**FAILURES, **LATE}.items():
            server = stack.enter_context(Upstream([answer])) if answer else None
            url = server.url if server else f"http://127.0.0.1:{closed_port()}"
            self.bad[name] = server
            # Each test is to find the provider closed, whatever the others did to it.
            health = "health: { failures: 1000, cooldown: 0 }"
            providers.append(f'  p{name}: {{ base_url: "{url}/v1", key: b, {health} }}')
            models.append(f"  {name}: {{ provider: p{name}, fallbacks: [second] }}")
        text = POLICY.format(
            good=self.good.url, providers="\n".join(providers), models="\n".join(models)
        )
        self.chain = stack.enter_context(Chain(policy=text))

    def rows(self) -> list[dict[str, Any]]:
        return list(self.chain.get("/health?exchanges=1").json()["exchanges"])


@pytest.fixture(scope="module")
def setup() -> Iterator[Setup]:
    with ExitStack() as stack:
        yield Setup(stack)


@pytest.mark.parametrize("version", [CODEX, OLD_CODEX])
@pytest.mark.parametrize("name", [*FAILURES, *LATE])
def test_codex_goes_on_with_the_second_upstream(
    setup: Setup, name: str, version: str, tmp_path: Path
) -> None:
    if version == OLD_CODEX and name in ("429-later", "529", "no-answer"):
        pytest.skip("one of each kind is enough for the old version")
    words = f"Say hello to {name}, {version}."
    run = run_codex(setup.chain.url, words, tmp_path, model=name, version=version)
    assert not run.failure and run.final_text == "All is well.", run.explain()
    late = name in LATE
    assert late or not run.visible, run.explain()
    assert len(setup.good.posts(words)) >= 1
    if server := setup.bad[name]:
        assert len(server.posts(words)) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", [n for n in FAILURES if n != "no-answer"])
def test_the_sdks_follow_without_a_retry_of_their_own(
    setup: Setup, name: str, stream: bool
) -> None:
    client = openai.OpenAI(base_url=setup.chain.url, api_key="sk-x", max_retries=0, timeout=20)
    if stream:
        pieces = client.responses.create(model=name, input="hi", stream=True)
        assert (
            "".join(e.delta for e in pieces if e.type == "response.output_text.delta")
            == "All is well."
        )
    else:
        assert client.responses.create(model=name, input="hi").output_text == "All is well."
    said = client.chat.completions.create(model=name, messages=[{"role": "user", "content": "hi"}])
    assert said.choices[0].message.content == "All is well."
    other = anthropic.Anthropic(
        base_url=setup.chain.origin, api_key="sk-y", max_retries=0, timeout=20
    )
    message = {"role": "user", "content": "hi"}
    if stream:
        with other.messages.stream(model=name, max_tokens=99, messages=[message]) as opened:  # type: ignore[list-item]
            assert opened.get_final_text() == "All is well."
    else:
        made = other.messages.create(model=name, max_tokens=99, messages=[message])  # type: ignore[list-item]
        assert made.content[0].text == "All is well."  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["no-answer", "dies-after-head"])
def test_a_retry_of_the_sdks_finds_the_second_upstream(setup: Setup, name: str) -> None:
    client = openai.OpenAI(base_url=setup.chain.url, api_key="sk-x", max_retries=1, timeout=20)
    if name == "no-answer":
        assert client.responses.create(model=name, input="hi").output_text == "All is well."
    else:
        answer = client.responses.create(model=name, input="hi there")
        assert answer.output_text == "All is well."


def test_a_client_that_does_not_follow_is_told_to_come_again(setup: Setup) -> None:
    body = {"model": "500", "messages": [{"role": "user", "content": "plain"}]}
    first = setup.chain.post("/v1/chat/completions", json=body)
    assert first.status_code == 503 and first.headers["retry-after"] == "1"
    said = first.json()["error"]["message"]
    assert "Internal trouble." in said and "second" in said
    again = setup.chain.post("/v1/chat/completions", json=body)
    assert again.status_code == 200
    assert again.json()["choices"][0]["message"]["content"] == "All is well."


def test_the_way_is_told_in_the_decisions(setup: Setup) -> None:
    headers = {"user-agent": "OpenAI/Python 2"}
    body = {"model": "503", "messages": [{"role": "user", "content": "told"}]}
    with httpx.Client(trust_env=False) as plain:
        first = plain.post(f"{setup.chain.url}/chat/completions", json=body, headers=headers)
        assert first.status_code == 307
        target = f"{setup.chain.origin}{first.headers['location']}"
        assert plain.post(target, json=body, headers=headers).status_code == 200
    last = setup.rows()[-2:]
    assert "sent on to second" in json.dumps(last[0]["decisions"])
    assert "a fallback of 503" in json.dumps(last[1]["decisions"])
    # What was tried is no business of the upstream's.
    assert all("tried" not in seen.path for seen in setup.good.seen)


def test_a_provider_that_keeps_failing_is_left_alone_and_tried_again(tmp_path: Path) -> None:
    answers = [error(500, "Down.", "server_error")] * 2 + [chat_turn("Up again.", (), (), False)]
    with Upstream(answers) as bad, Upstream(well) as good:
        policy = f"""
providers:
  bad: {{ base_url: "{bad.url}/v1", health: {{ failures: 2, cooldown: 1s }} }}
  good: {{ base_url: "{good.url}/v1" }}
models:
  first: {{ provider: bad, fallbacks: [second] }}
  second: {{ provider: good }}
"""
        with Chain(policy=policy) as chain:
            client = openai.OpenAI(base_url=chain.url, api_key="x", max_retries=0, timeout=20)

            def ask() -> str:
                return client.responses.create(model="first", input="hi").output_text

            assert [ask(), ask()] == ["All is well."] * 2
            assert len(bad.posts()) == 2
            assert "Down." in chain.health()["providers"]["bad"]
            assert ask() == "All is well." and len(bad.posts()) == 2
            assert poll(lambda: ask() == "Up again.", 5, "the cooldown to end")
            assert len(bad.posts()) == 3 and "providers" not in chain.health()


def test_the_last_failure_is_told_when_nobody_answers() -> None:
    with (
        Upstream([error(500, "First.", "server_error")]) as a,
        Upstream([error(503, "Second.")]) as b,
    ):
        policy = f"""
providers: {{ a: {{ base_url: "{a.url}/v1" }}, b: {{ base_url: "{b.url}/v1" }} }}
models:
  one: {{ provider: a, fallbacks: [two] }}
  two: {{ provider: b, fallbacks: [three] }}
  three: {{ provider: c }}
""".replace("provider: c", "provider: b, model: x")
        with Chain(policy=policy) as chain:
            client = openai.OpenAI(base_url=chain.url, api_key="x", max_retries=0, timeout=20)
            with pytest.raises(openai.InternalServerError) as raised:
                client.responses.create(model="one", input="hi")
            assert "Second." in str(raised.value)
            assert len(a.posts()) == 1 and len(b.posts()) == 2
