"""The real Claude Code works through the chain, whatever the upstream speaks."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.clients.brains import PATHS, VIEWS, Move, View, speak
from tests.clients.run import claude_code_run
from tests.clients.thoughts import kept, thoughts
from tests.clients.work import (
    CLIENT_KEY,
    PROVIDER_KEY,
    REPORT,
    assert_fixed,
    policy,
    worker,
)
from tests.e2e.answers import error
from tests.e2e.chain import Chain
from tests.e2e.upstreams import Answer, Seen, Upstream


@pytest.mark.parametrize("protocol", ["chat", "responses", "messages"])
def test_reads_edits_and_runs(protocol: str, project: Path) -> None:
    with Upstream(speak(protocol, worker("claude-code", project))) as upstream:
        with Chain(policy=policy(upstream.url, protocol)) as chain:
            run = claude_code_run(chain.origin, project)
            log = chain.log()
    assert run.exit_code == 0, run.explain() + log
    (result,) = run.events()
    assert (result["subtype"], result["result"]) == ("success", REPORT), run.explain()
    assert result["num_turns"] == 4 and not result["permission_denials"]
    # Four answers of 7 and 3 tokens each.
    assert (result["usage"]["input_tokens"], result["usage"]["output_tokens"]) == (28, 12)
    assert_fixed(project)
    posts = upstream.posts()
    assert {post.path for post in posts} == {f"/v1{PATHS[protocol]}"}
    assert {post.json()["model"] for post in posts} == {"upstream-model"}
    sent = json.dumps([[dict(post.headers), post.body.decode()] for post in posts])
    assert PROVIDER_KEY in sent and CLIENT_KEY not in sent
    assert "device_id" not in sent, "what Claude Code says of its user went to a third party"


def test_answers_that_all_have_one_id(project: Path) -> None:
    """Claude Code takes answers with the same id for one and puts their blocks together; some local
    servers give every answer the same."""
    brain = worker("claude-code", project)
    with Upstream(speak("chat", brain, answer_id="same")) as upstream:
        with Chain(policy=policy(upstream.url, "chat")) as chain:
            run = claude_code_run(chain.origin, project)
    assert run.events()[-1]["result"] == REPORT, run.explain()
    assert_fixed(project)
    roles = [message["role"] for message in upstream.posts()[-1].json()["messages"]]
    assert roles[-6:] == ["assistant", "tool"] * 3


def test_parallel_calls(project: Path) -> None:
    """Two calls in one answer are both run, and both outputs come back under their ids."""
    files = [str(project / name) for name in ("prices.py", "test_prices.py")]

    def brain(view: View) -> Move:
        if "Read" not in view.tools:
            return Move("Reading")
        if not view.done:
            return Move("", [("Read", {"file_path": file}) for file in files])
        found = {done.arguments["file_path"]: done.output for done in view.done}
        both = "def total" in found[files[0]] and "class Total" in found[files[1]]
        return Move("I have read both." if both else f"I got {found}.")

    with Upstream(speak("chat", brain)) as upstream:
        with Chain(policy=policy(upstream.url, "chat")) as chain:
            run = claude_code_run(chain.origin, project)
    assert run.events()[-1]["result"] == "I have read both.", run.explain()


DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNg+M9QDwADhgGAWjTDcgAAAABJRU5ErkJggg=="
)


@pytest.mark.parametrize("protocol", ["chat", "responses"])
def test_images_failures_and_tools_that_are_searched_for(protocol: str, project: Path) -> None:
    """What tools give back besides text arrives, and what a search finds can be called."""
    (project / "dot.png").write_bytes(DOT)
    steps = [
        ("Read", {"file_path": str(project / "dot.png")}),
        ("Read", {"file_path": str(project / "nowhere.txt")}),
        ("ToolSearch", {"query": "select:WebFetch", "max_results": 1}),
        ("WebFetch", {"url": "https://example.invalid/", "prompt": "What is it?"}),
    ]

    def brain(view: View) -> Move:
        assert "DeferredToolPlaceholder" not in view.tools
        step = len(view.done)
        if step == 3 and "WebFetch" not in view.tools:
            return Move("It was not found.")
        return Move("", steps[step : step + 1]) if step < len(steps) else Move("Tried all.")

    with Upstream(speak(protocol, brain)) as upstream:
        with Chain(policy=policy(upstream.url, protocol)) as chain:
            run = claude_code_run(chain.origin, project)
    assert run.events()[-1]["result"] == "Tried all.", run.explain()
    posts = upstream.posts()
    assert "WebFetch" not in VIEWS[protocol](posts[0].json()).tools
    done = VIEWS[protocol](posts[-1].json()).done
    assert done[1].output.startswith("[error] File does not exist")
    assert "WebFetch" in done[2].output
    assert b"data:image/png;base64," + base64.b64encode(DOT) in posts[-1].body


@pytest.mark.parametrize("protocol", ["chat", "responses"])
def test_reasoning_comes_back_to_the_model_that_thought_it(protocol: str, project: Path) -> None:
    """It travels as a thinking block with a signature through Claude Code's history."""
    with Upstream(speak(protocol, worker("claude-code", project, protocol))) as upstream:
        with Chain(policy=policy(upstream.url, protocol)) as chain:
            run = claude_code_run(chain.origin, project)
    assert run.events()[-1]["result"] == REPORT, run.explain()
    last = upstream.posts()[-1].json()
    assert kept(protocol, last) == [thoughts(protocol, step) for step in range(3)]


def test_a_conversation_moves_to_another_upstream(project: Path, tmp_path: Path) -> None:
    """Continued over Messages the bytes pass, but for what the chain had packed for another."""
    brain = worker("claude-code", project, "responses")
    home = tmp_path / "home"
    home.mkdir()
    with Upstream(speak("responses", brain)) as upstream:
        with Chain(policy=policy(upstream.url, "responses")) as chain:
            first = claude_code_run(chain.origin, project, home=home)
    with Upstream(speak("messages", lambda view: Move("Well met."))) as upstream:
        with Chain(policy=policy(upstream.url, "messages")) as chain:
            then = claude_code_run(chain.origin, project, "--continue", home=home)
    assert first.events()[-1]["result"] == REPORT, first.explain()
    assert then.events()[-1]["result"] == "Well met.", then.explain()
    (post,) = upstream.posts()
    assert REPORT.encode() in post.body, "the conversation was not continued"
    assert b"interpose.1." not in post.body
    kinds = [
        [block["type"] for block in message["content"]]
        for message in post.json()["messages"]
        if message["role"] == "assistant"
    ]
    assert kinds == [["text", "tool_use"]] * 3 + [["text"]]


def test_a_full_context_is_compacted(project: Path) -> None:
    """The provider's own words about its window become the error that Claude Code compacts at."""
    brain = worker("claude-code", project)
    summary = "prices.py was read and edited; left: run the test."

    def forgetful(view: View) -> Move:
        if "a <summary> block" in view.said[-1]:
            return Move(f"<summary>{summary}</summary>")
        if any(summary in said for said in view.said):
            return Move("Compacted, and on with it.")
        return brain(view)

    answers = speak("chat", forgetful)

    def script(seen: Seen) -> Answer:
        view = VIEWS["chat"](seen.json())
        if len(view.done) > 1 and "a <summary> block" not in view.said[-1]:
            words = "This model's maximum context length is 8192 tokens. However, your messages are"
            return error(400, f"{words} 9000 tokens.", "invalid_request_error")
        return answers(seen)

    with Upstream(script) as upstream:
        with Chain(policy=policy(upstream.url, "chat")) as chain:
            run = claude_code_run(chain.origin, project)
            log = chain.log()
    assert run.exit_code == 0, run.explain() + log
    assert run.events()[-1]["result"] == "Compacted, and on with it.", run.explain() + log
