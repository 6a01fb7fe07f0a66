"""A Turn as a Chat Completions request. Source: OpenAI's API reference (chat/create)."""

from __future__ import annotations

from typing import Any

import msgspec

from ...tools.bridge import Bridge, Bridged
from ...turn import Turn, is_absent
from ..protocols import Target
from ..quirks import apply, effort_fields
from .write_messages import Messages

#: Settings with the same name and meaning on both sides.
_SAME = (
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "seed",
    "stop",
    "presence_penalty",
    "frequency_penalty",
)
#: Settings that say how the Responses API keeps or shows things: nothing to send.
_MEANINGLESS = frozenset(
    {
        "model",
        "input",
        "instructions",
        "tools",
        "stream",
        "store",
        "include",
        "client_metadata",
        "prompt_cache_key",
        "tool_choice",
        "reasoning",
        "text",
        "max_output_tokens",
        "metadata",
        "user",
        "stream_options",
        "truncation",
        "safety_identifier",
        "background",
        "previous_response_id",
    }
)


def write_request(turn: Turn, bridge: Bridge, target: Target, notes: list[str]) -> bytes:
    """The body for ``POST …/chat/completions``; ``notes`` names what was left out."""
    messages = Messages(turn, bridge, target, notes)
    if instructions := turn.setting("instructions"):
        messages.system(instructions)
    messages.walk(turn.items)
    body: dict[str, Any] = {"stream": turn.stream}
    if turn.stream:
        body["stream_options"] = {"include_usage": True}
    tools = [_function(t) for t in bridge.allowed(turn.setting("tool_choice"))]
    caching = target.caching
    if caching:
        tools.sort(key=lambda tool: str(tool["function"]["name"]))
        if caching.key:
            body["prompt_cache_key"] = caching.key
    if tools:
        body["tools"] = tools
        if (choice := _choice(turn.setting("tool_choice"), bridge)) is not None:
            body["tool_choice"] = choice
    notes += [
        f"tool {kind} left out: no counterpart in Chat Completions"
        for kind in dict.fromkeys(bridge.left_out)
    ]
    _settings(turn, target, body, notes)
    _form(turn, bridge, target, body, notes)
    body = apply(body, target.quirks, notes)
    head, rest = msgspec.json.encode({"model": target.model}), msgspec.json.encode(body)
    return b"".join([head[:-1], b',"messages":', *messages.encoded(), b",", rest[1:]])


def _settings(turn: Turn, target: Target, body: dict[str, Any], notes: list[str]) -> None:
    for name in turn.fields:
        if name in _SAME:
            value = turn.setting(name)
            if value is not None and not (name == "parallel_tool_calls" and "tools" not in body):
                body[name] = value
        elif name not in _MEANINGLESS and not is_absent(turn.fields[name]):
            notes.append(f"setting {name} left out: no counterpart in Chat Completions")
    if (limit := turn.setting("max_output_tokens")) is not None:
        body["max_tokens"] = limit
    if effort := turn.effort:
        body |= effort_fields(effort, target.quirks, notes)


def _form(
    turn: Turn, bridge: Bridge, target: Target, body: dict[str, Any], notes: list[str]
) -> None:
    """The form the answer must have."""
    text = turn.setting("text") or {}
    form = text.get("format") or {}
    if form.get("type") == "json_schema" and not target.quirks.schema:
        # A tool that must be called has the schema; its call comes back as the answer's text.
        answer = bridge.offer_answer(form)
        alone = not body.get("tools")
        body.setdefault("tools", []).append(_function(answer))
        named = {"type": "function", "function": {"name": answer.flat}}
        body["tool_choice"] = named if alone else "required"
    elif form.get("type") == "json_schema":
        schema = {k: form[k] for k in ("name", "description", "schema", "strict") if k in form}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif form.get("type") == "json_object":
        body["response_format"] = {"type": "json_object"}
    elif form.get("type") not in (None, "text"):
        notes.append(f"setting text.format {form['type']} left out: no counterpart in Chat")
    if text.get("verbosity"):
        notes.append("setting text.verbosity left out: no counterpart in Chat Completions")


def _function(tool: Bridged) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.flat}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _choice(choice: Any, bridge: Bridge) -> Any:
    if isinstance(choice, dict):
        if choice.get("type") == "allowed_tools":
            return choice.get("mode") or "auto"
        named = choice.get("name") or choice.get("type") or ""
        flat = bridge.flat_name(str(named), choice.get("namespace"))
        return {"type": "function", "function": {"name": flat}} if flat in bridge.offered else None
    return choice if isinstance(choice, str) else None
