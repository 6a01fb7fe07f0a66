"""Request bodies as an agent sends them: many items, real source lines, tool outputs, tools."""

from __future__ import annotations

import asyncio.base_events
import inspect
import json
import random
from typing import Any

SOURCE = inspect.getsource(asyncio.base_events).splitlines()
_NAMES = (
    "exec_command",
    "write_stdin",
    "view_image",
    "request_user_input",
    "get_goal",
    "create_goal",
    "update_goal",
    "list_mcp_resources",
    "read_mcp_resource",
    "spawn_agent",
    "wait_agent",
)


def tools() -> list[dict[str, Any]]:
    """About as many tools, with about as much text, as Codex offers."""
    words = " ".join(SOURCE[3:30])
    made: list[dict[str, Any]] = [
        {
            "type": "function",
            "name": name,
            "description": f"{name}: {words[:400]}",
            "strict": False,
            "parameters": {
                "type": "object",
                "properties": {
                    "cmd": {"type": "string", "description": words[400:480]},
                    "yield_time_ms": {"type": "number", "description": words[480:560]},
                },
                "required": ["cmd"],
            },
        }
        for name in _NAMES
    ]
    grammar = {"type": "grammar", "syntax": "lark", "definition": words[:600]}
    patch = {"type": "custom", "name": "apply_patch", "description": words[:200], "format": grammar}
    return [*made, patch]


def body(size: int, number: int, model: str = "m") -> bytes:
    """A Responses request of about ``size`` bytes; another ``number`` is another conversation."""
    chance = random.Random(number)
    text = {"type": "input_text", "text": f"Task {number}: find out why the loop is slow."}
    items: list[dict[str, Any]] = [
        {"type": "message", "role": "user", "content": [text]},
    ]
    offered = tools() if size > 20_000 else []
    base = "\n".join(SOURCE[:200])[: min(size // 10, 15_000)]
    developer = {"type": "input_text", "text": f"You are a coding agent.\n{base}"}
    items.insert(0, {"type": "message", "role": "developer", "content": [developer]})

    def request() -> bytes:
        return as_json(
            {
                "model": model,
                "stream": True,
                "store": False,
                "input": items,
                "tools": offered,
                "tool_choice": "auto",
                "parallel_tool_calls": True,
                "reasoning": {},
                "include": ["reasoning.encrypted_content"],
                "prompt_cache_key": f"thread-{number}",
            }
        )

    filled = len(request())
    step = 0
    while size - filled > 800:
        step += 1
        start, count = chance.randrange(len(SOURCE) - 90), chance.randrange(5, 90)
        lines = SOURCE[start : start + count]
        room = size - filled - 600
        more = step_of(step, start, lines, room)
        items += more
        filled += sum(len(as_json(item)) + 1 for item in more)
    rest = max(0, size - len(request()))
    text["text"] += "\n" + "\n".join(SOURCE[200:240])[:rest] if rest else ""
    return request()


def as_json(value: Any) -> bytes:
    """Without blanks, as Codex writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def asked_of(made: bytes, model: str) -> bytes:
    """The same request under another model's name."""
    return made.replace(b'"model":"m"', b'"model":"%b"' % model.encode(), 1)


def messages_of(made: bytes, model: str) -> bytes:
    """The same conversation as a client of Anthropic's Messages sends it, under ``model``."""
    asked = json.loads(made)
    developer, *items = asked["input"]
    messages: list[dict[str, Any]] = []

    def say(role: str, block: dict[str, Any]) -> None:
        if not messages or messages[-1]["role"] != role:
            messages.append({"role": role, "content": []})
        messages[-1]["content"].append(block)

    for item in items:
        if item["type"] == "message":
            say("user", {"type": "text", "text": item["content"][0]["text"]})
        elif item["type"].endswith("_call"):
            given = json.loads(item["arguments"]) if "arguments" in item else item["input"]
            call = {"type": "tool_use", "id": item["call_id"], "name": item["name"]}
            say("assistant", {**call, "input": given if isinstance(given, dict) else {"p": given}})
        elif item["type"].endswith("_output"):
            output = {"tool_use_id": item["call_id"], "content": item["output"]}
            say("user", {"type": "tool_result", **output})
    tools = [
        {
            "name": t["name"],
            "description": t["description"],
            "input_schema": t.get("parameters") or {"type": "object", "properties": {}},
        }
        for t in asked["tools"]
    ]
    system = [{"type": "text", "text": developer["content"][0]["text"]}]
    head = {"model": model, "max_tokens": 32000, "stream": True, "system": system}
    return as_json({**head, "messages": messages, "tools": tools})


def chat_of(made: bytes, model: str) -> bytes:
    """The same conversation as a client of Chat Completions sends it, under ``model``."""
    request = json.loads(made)
    messages: list[dict[str, Any]] = []
    for item in request["input"]:
        if item["type"] == "message":
            role = {"developer": "system"}.get(item["role"], item["role"])
            messages.append({"role": role, "content": item["content"][0]["text"]})
        elif item["type"].endswith("_call"):
            arguments = item.get("arguments") or json.dumps({"p": item["input"]})
            function = {"name": item["name"], "arguments": arguments}
            call = {"id": item["call_id"], "type": "function", "function": function}
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif item["type"].endswith("_output"):
            output = {"tool_call_id": item["call_id"], "content": item["output"]}
            messages.append({"role": "tool", **output})
    tools = [
        {
            "type": "function",
            "function": {
                "name": tool["name"],
                "description": tool["description"],
                "parameters": tool.get("parameters") or {"type": "object", "properties": {}},
            },
        }
        for tool in request["tools"]
    ]
    head = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    return as_json({**head, "messages": messages, **({"tools": tools} if tools else {})})


def step_of(step: int, start: int, lines: list[str], room: int) -> list[dict[str, Any]]:
    """One round of an agent: a thought, a call, its output; every eighth is a patch."""
    text = "\n".join(lines)[:room]
    call_id = f"call_{step:05d}"
    if step % 8 == 0:
        patch = "\n".join(f"+{line}" for line in lines[:20])[:room]
        name = {"name": "apply_patch", "call_id": call_id}
        return [
            {"type": "custom_tool_call", **name, "id": f"ctc_{step:032x}", "input": _patch(patch)},
            {"type": "custom_tool_call_output", "call_id": call_id, "output": "Success."},
        ]
    command = json.dumps({"cmd": f"sed -n {start},{start + len(lines)}p base_events.py"})
    output = f"Chunk ID: {step:06x}\nWall time: 0.0100 seconds\nOutput:\n{text}\n"
    call = {"type": "function_call", "id": f"fc_{step:032x}", "name": "exec_command"}
    thought: dict[str, Any] = {"type": "reasoning", "id": f"rs_{step:032x}", "summary": []}
    return [
        *([{**thought, "content": None, "encrypted_content": None}] if step % 5 == 0 else []),
        {**call, "call_id": call_id, "arguments": command},
        {"type": "function_call_output", "call_id": call_id, "output": output},
    ]


def _patch(lines: str) -> str:
    return f"*** Begin Patch\n*** Update File: base_events.py\n@@\n{lines}\n*** End Patch\n"
