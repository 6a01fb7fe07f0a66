"""What agents are asked, which of them is meant, and whose session it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shim.engines.agents.ask import DEEPEST_SCHEMA, LARGEST_SCHEMA, LONGEST, MOST_MESSAGES, read
from shim.engines.known import hidden, whole
from shim.engines.sessions import Sessions, named
from shim.policy.agents import Agent
from shim.policy.load import PolicyError, parse_policy
from shim.policy.schema import Policy, Provider
from shim.state.store import Memory
from shim.turn import WireError
from shim.wire.protocols import codec


def asked(*said: tuple[str, Any], **more: Any) -> Any:
    messages = [{"role": role, "content": content} for role, content in said]
    body = {"model": "m", "messages": messages, **more}
    return read(codec("chat").read_request(json.dumps(body).encode()))


def test_one_message_is_the_prompt_as_it_is() -> None:
    ask = asked(("system", "Be brief."), ("user", " - what? "))
    assert (ask.prompt, ask.news, ask.instructions) == (" - what? ", " - what? ", "Be brief.")


def test_a_conversation_is_told_whole_and_as_news() -> None:
    ask = asked(("user", "one"), ("assistant", "1"), ("user", "two"), ("user", "three"))
    assert ask.prompt.endswith("User: one\n\nAssistant: 1\n\nUser: two\n\nUser: three")
    assert ask.news == "two\n\nthree"


def test_tools_of_the_client_are_told() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "ls", "arguments": '{"a":1}'}}
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "a.txt"},
    ]
    body = {"model": "m", "messages": messages}
    ask = read(codec("chat").read_request(json.dumps(body).encode()))
    assert 'Assistant: [calls ls with {"a":1}]\n\nUser: [tool output]\na.txt' in ask.prompt
    assert ask.news == "[tool output]\na.txt"


def test_images() -> None:
    def part(url: str) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": url}}

    ask = asked(("user", [part("data:1")]), ("assistant", "1"), ("user", [part("data:2")]))
    assert (ask.images, ask.new_images) == (["data:1", "data:2"], ["data:2"])
    ask = asked(("user", [{"type": "local_image", "path": "/a b/%2e?#.png"}]))
    assert ask.images == ["file:///a%20b/%252e%3F%23.png"]


SCHEMA = {"type": "object"}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = SCHEMA
    for _ in range(depth - 1):
        schema = {"items": schema}
    return schema


def form(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}, "needs a schema"),
        ({"response_format": form({})}, "needs a schema"),
        ({"response_format": form([1])}, "needs a schema"),
        ({"response_format": form(nested(DEEPEST_SCHEMA + 1))}, "64 levels deep"),
        ({"response_format": form({"d": "x" * LARGEST_SCHEMA})}, "bytes; at most"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"}, "calls no tools"),
    ],
)  # fmt: skip
def test_what_is_refused(more: dict[str, Any], why: str) -> None:
    with pytest.raises(WireError, match=why):
        asked(("user", "x"), **more)


def test_limits() -> None:
    assert asked(("user", "x"), response_format=form(nested(DEEPEST_SCHEMA))).schema
    with pytest.raises(WireError, match="at most 20000"):
        asked(*[("user", "x")] * (MOST_MESSAGES + 1))
    with pytest.raises(WireError, match="characters; an agent takes at most"):
        asked(("user", "x" * (LONGEST + 1)))
    with pytest.raises(WireError, match="nothing to answer"):
        asked(("user", "x"), ("assistant", "y"))


@pytest.mark.parametrize("field", ["session_id", "conversation_id", "thread_id", "user"])
@pytest.mark.parametrize(
    "header", ["x-session-id", "session-id", "x-conversation-id", "x-thread-id", "x-user-id"]
)
def test_a_session_by_any_of_its_names(field: str, header: str) -> None:
    def of(body: dict[str, Any], headers: dict[str, str], owner: str = "") -> str:
        turn = codec("chat").read_request(json.dumps({"messages": [], **body}).encode())
        return named(turn.own, headers, owner)

    mine = of({field: "me"}, {})
    assert mine and mine == of({}, {header: "me"}) == of({field: " me "}, {"x-user-id": "you"})
    assert mine != of({field: "you"}, {}) and mine != of({field: "me"}, {}, "somebody")
    assert of({field: ""}, {}) == of({field: None}, {}) == of({field: True}, {}) == ""
    assert of({field: "--help\n\0/../x"}, {}).isalnum()


def test_sessions_are_kept_per_agent() -> None:
    sessions = Sessions(Memory())
    sessions.put("a", "talk", "thread-1")
    sessions.put("a", "", "thread-2")
    assert sessions.get("a", "talk") == "thread-1"
    assert sessions.get("b", "talk") is None and sessions.get("a", "") is None


POLICY = Policy(
    providers={
        "p": Provider(
            "http://p/v1", key="${P_KEY}", headers={"x-more": "${MORE}"}, query={"q": "${QUERY}"}
        )
    },
    agents={"a": Agent(use="codex", env={"OWN_TOKEN": "${OWN}", "PLAIN": "word-of-mine"})},
)
ENV = {"P_KEY": "p-123456", "MORE": "m-123456", "QUERY": "q-1", "OWN": "own-123456", "OTHER": "o"}


def test_an_agent_gets_no_keys_of_providers() -> None:
    env = whole(POLICY.agents["a"], POLICY, ENV).env
    assert env == {
        "P_KEY": "", "MORE": "", "QUERY": "", "OWN_TOKEN": "own-123456", "PLAIN": "word-of-mine",
    }  # fmt: skip
    given = Agent(use="codex", env={"P_KEY": "${P_KEY}"})
    assert whole(given, POLICY, ENV).env["P_KEY"] == "p-123456"


def test_what_an_entry_says_stands_before_what_is_known() -> None:
    agent = whole(Agent(use="cursor", command=["other", "-p"], slots=1), POLICY, ENV)
    assert (agent.command, agent.slots, agent.ready) == (
        ["other", "-p"],
        1,
        ["cursor-agent", "status"],
    )
    assert agent.prompt != "argument", "a prompt would stand in every list of processes"


def test_secrets_are_hidden() -> None:
    key = "sk-proj-" + "a1B2" * 8
    said = hidden(f"p-123456 m-123456 own-123456 word-of-mine {key} rest", POLICY, ENV)
    assert said == "[redacted] [redacted] [redacted] word-of-mine [redacted] rest"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("agents: { a: {} }", "needs a command"),
        ("agents: { a: { command: [x] } }", "needs reads"),
        ("agents: { 'a:b': { use: codex } }", "no colon"),
        ("agents: { demo: { use: codex } }", "name of a provider"),
        ("agents: { a: { use: codex, slots: 0 } }", "slots"),
        ("agents: { a: { use: codex, time_limit: soon } }", "a time such as"),
        ("agents: { a: { use: codex, sandbox: none } }", "sandbox"),
        ("agents: { a: { use: codex, wat: 1 } }", "wat"),
    ],
)
def test_entries_that_cannot_be(text: str, why: str) -> None:
    with pytest.raises(PolicyError, match=why):
        parse_policy(text)


@pytest.mark.parametrize("default", ["a", "a:m", "a:m:high"])
def test_an_agent_can_be_the_default(default: str) -> None:
    assert parse_policy(f"agents: {{ a: {{ use: codex }} }}\ndefault: {default}").default == default
