"""Scripted models: a brain decides by what the request holds, in any of the three protocols.

A brain is a function of a `View` (which tools are offered, what was said, which calls have been
answered and how) and returns a `Move`. It keeps no state, so a request sent twice gets the same
answer, and it looks into a tool's output as a model would.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.answers import chat_turn, error, json_answer, messages_turn, responses_turn
from tests.e2e.upstreams import Answer, Script, Seen

PATHS = {"chat": "/chat/completions", "responses": "/responses", "messages": "/messages"}


@dataclass(frozen=True)
class Done:
    """A tool call of the conversation and what it gave. `failed` is Messages' `is_error`."""

    name: str
    arguments: Any
    output: str
    failed: bool = False


@dataclass(frozen=True)
class View:
    """What a model sees of a request. `told` is the system prompt, `said` the user's texts, `tools`
    what is offered, by name."""

    model: str
    told: str
    tools: dict[str, Any]
    said: list[str]
    done: list[Done]


@dataclass(frozen=True)
class Move:
    """What the model does: say `text` and call `calls` (name, arguments). `thinking` comes first,
    in the protocol's own form: Messages blocks, a Responses item, fields of a chat message."""

    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    thinking: list[Any] = field(default_factory=list)


Brain = Callable[[View], Move]


def speak(protocol: str, brain: Brain, answer_id: str = "") -> Script:
    """The script of an upstream that speaks `protocol` and answers what `brain` decides.

    What a brain or a view cannot read is answered with a 400 that says so, which a client shows.
    `answer_id` is the id of every answer; without it each has its own.
    """

    def script(seen: Seen) -> Answer:
        path = seen.path.partition("?")[0]
        if seen.method != "POST" or not path.startswith("/v1"):
            return error(404, f"no such page: {seen.path}")
        body = seen.json()
        if path.endswith("/count_tokens"):
            return json_answer(200, {"input_tokens": len(seen.body) // 4})
        if not path.endswith(PATHS[protocol]):
            return error(404, f"this upstream speaks {protocol}, not {seen.path}")
        try:
            move = brain(VIEWS[protocol](body))
        except (LookupError, ValueError, TypeError, AssertionError) as e:
            return error(400, f"the scripted model cannot read this request: {e!r}")
        # Call ids follow from the request: repeated they are the same, in the next turn others.
        seed = hashlib.sha256(seen.body).hexdigest()[:8]
        calls = [(f"call_{seed}_{n}", name, args) for n, (name, args) in enumerate(move.calls)]
        stream = bool(body.get("stream"))
        return TURNS[protocol](move.text, calls, move.thinking, stream, answer_id or seed)

    return script


TURNS = {"chat": chat_turn, "responses": responses_turn, "messages": messages_turn}


def text_of(content: Any) -> str:
    """The text of a message's or tool output's content, in any protocol."""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or "" for part in content or [] if isinstance(part, dict))


def _chat_view(body: dict[str, Any]) -> View:
    calls: dict[str, tuple[str, Any]] = {}
    told, said, done = [], [], []
    for message in body["messages"]:
        for call in message.get("tool_calls") or []:
            function = call["function"]
            calls[call["id"]] = function["name"], json.loads(function["arguments"] or "{}")
        if message["role"] == "user":
            said.append(text_of(message["content"]))
        elif message["role"] in ("system", "developer"):
            told.append(text_of(message["content"]))
        elif message["role"] == "tool":
            name, arguments = calls[message["tool_call_id"]]
            done.append(Done(name, arguments, text_of(message["content"])))
    tools = {tool["function"]["name"]: tool for tool in body.get("tools") or []}
    return View(body["model"], "\n".join(told), tools, said, done)


def _messages_view(body: dict[str, Any]) -> View:
    calls: dict[str, tuple[str, Any]] = {}
    told, said, done = [text_of(body.get("system"))], [], []
    for message in body["messages"]:
        content = message["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        for block in content:
            if block["type"] == "tool_use":
                calls[block["id"]] = block["name"], block["input"]
            elif block["type"] == "tool_result":
                output = text_of(block.get("content"))
                failed = bool(block.get("is_error"))
                done.append(Done(*calls[block["tool_use_id"]], output, failed))
            elif block["type"] == "text" and message["role"] != "assistant":
                (said if message["role"] == "user" else told).append(block["text"])
    tools = {tool["name"]: tool for tool in body.get("tools") or []}
    return View(body["model"], "\n".join(told), tools, said, done)


def _responses_view(body: dict[str, Any]) -> View:
    calls: dict[str, tuple[str, Any]] = {}
    told, said, done = [body.get("instructions") or ""], [], []
    items = body["input"]
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    for item in items:
        kind = item.get("type", "message")
        if kind == "function_call":
            calls[item["call_id"]] = item["name"], json.loads(item["arguments"] or "{}")
        elif kind == "custom_tool_call":
            calls[item["call_id"]] = item["name"], item["input"]
        elif kind.endswith("_call_output"):
            name, arguments = calls[item["call_id"]]
            done.append(Done(name, arguments, text_of(item["output"])))
        elif kind == "message" and item["role"] != "assistant":
            (said if item["role"] == "user" else told).append(text_of(item["content"]))
    tools = {tool.get("name", tool["type"]): tool for tool in body.get("tools") or []}
    return View(body["model"], "\n".join(told), tools, said, done)


VIEWS = {"chat": _chat_view, "responses": _responses_view, "messages": _messages_view}
