"""A Turn as a Messages request for an upstream. Source: Anthropic's API reference (messages)."""

from __future__ import annotations

from typing import Any

import msgspec

from ...tools.bridge import Bridge
from ...turn import Turn
from ..fields import refuse_more
from ..protocols import Target
from .marks import control
from .write_messages import Messages

#: Tokens of an answer where the client names no limit: the API insists on one.
MAX_TOKENS = 32_000
#: The same for families of models that take less, by how their names begin.
SMALLER = {
    "claude-3-5-": 8192,
    "claude-3-haiku": 4096,
    "claude-3-opus": 4096,
    "claude-3-sonnet": 4096,
}
#: Tokens for thinking, per effort of the Responses API.
BUDGETS = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 24_576,
    "max": 30_720,
}
_SMALLEST_BUDGET = 1024
#: Settings that are read, or that say how another API keeps and shows things: all others are named.
_READ = frozenset(
    {
        "model",
        "input",
        "instructions",
        "tools",
        "stream",
        "stream_options",
        "store",
        "include",
        "client_metadata",
        "prompt_cache_key",
        "previous_response_id",
        "safety_identifier",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "text",
        "max_output_tokens",
        "metadata",
        "user",
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "n",
        "logprobs",
        "top_logprobs",
        "service_tier",
    }
)
#: What settings say that nobody misses.
_USUAL = (b"null", b"false", b'"disabled"', b"[]", b"{}")


def write_request(turn: Turn, bridge: Bridge, target: Target, notes: list[str]) -> bytes:
    """The body for ``POST …/messages``; ``notes`` names what was left out."""
    refuse_more(turn)
    messages = Messages(turn, bridge, target, notes)
    if instructions := turn.setting("instructions"):
        messages.system.append(instructions)
    messages.walk(turn.items)
    body: dict[str, Any] = {"stream": turn.stream, "max_tokens": _limit(turn, target)}
    if system := [{"type": "text", "text": t} for t in messages.system if t.strip()]:
        body["system"] = system
    thinks = _think(turn, body, messages, notes)
    _tools(turn, bridge, messages, body, notes, thinks)
    _settings(turn, target, body, notes, thinks)
    if target.caching:
        body.get("tools", []).sort(key=lambda tool: tool["name"])
        if life := target.caching.life:
            made = control(life)
            for marked in (body.get("tools"), body.get("system")):
                if marked:
                    marked[-1]["cache_control"] = made
            messages.mark(made)
    head, rest = msgspec.json.encode({"model": target.model}), msgspec.json.encode(body)
    return b"".join([head[:-1], b',"messages":', *messages.encoded(), b",", rest[1:]])


def _limit(turn: Turn, target: Target) -> int:
    limit = turn.setting("max_output_tokens")
    if limit is not None and limit >= 1:
        return int(limit)
    name = target.model.rpartition("/")[2]
    return next((most for head, most in SMALLER.items() if name.startswith(head)), MAX_TOKENS)


def _think(turn: Turn, body: dict[str, Any], messages: Messages, notes: list[str]) -> bool:
    """Switch thinking on as the client's effort asks; whether it is on."""
    budget = BUDGETS.get(turn.effort or "")
    if budget is None:
        return False
    if messages.thinks is False:
        # The API refuses thinking where the answer under way began without.
        notes.append("reasoning left out in this turn: the answer under way began without it")
        return False
    if body["max_tokens"] <= _SMALLEST_BUDGET:
        notes.append("reasoning left out in this turn: the answer's limit leaves no room for it")
        return False
    if budget >= body["max_tokens"]:
        budget = max(_SMALLEST_BUDGET, body["max_tokens"] // 2)
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return True


def _tools(
    turn: Turn,
    bridge: Bridge,
    messages: Messages,
    body: dict[str, Any],
    notes: list[str],
    thinks: bool,
) -> None:
    notes += [
        f"tool {kind} left out: no counterpart in Messages"
        for kind in dict.fromkeys(bridge.left_out)
    ]
    offered = bridge.allowed(turn.setting("tool_choice"))
    if not offered:
        if called := messages.called:
            # Calls in the history want their tools named, also where none is offered any more.
            schema = {"type": "object", "properties": {}}
            body["tools"] = [{"name": name, "input_schema": schema} for name in called]
            body["tool_choice"] = {"type": "none"}
        return
    body["tools"] = []
    for tool in offered:
        made: dict[str, Any] = {"name": tool.flat}
        if tool.description:
            made["description"] = tool.description
        schema = tool.parameters if isinstance(tool.parameters, dict) else {}
        made["input_schema"] = {"properties": {}, **schema, "type": "object"}
        body["tools"].append(made)
    choice = _choice(turn.setting("tool_choice"), bridge)
    if thinks and choice and choice["type"] in ("any", "tool"):
        notes.append("tool_choice left out: a thinking model chooses for itself")
        choice = {"type": "auto"}
    if turn.setting("parallel_tool_calls") is False and (choice or {}).get("type") != "none":
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice:
        body["tool_choice"] = choice


def _choice(choice: Any, bridge: Bridge) -> dict[str, Any] | None:
    if isinstance(choice, str):
        kind = {"auto": "auto", "required": "any", "none": "none"}.get(choice)
        return {"type": kind} if kind else None
    if not isinstance(choice, dict):
        return None
    if choice.get("type") == "allowed_tools":
        return {"type": "any" if choice.get("mode") == "required" else "auto"}
    flat = bridge.flat_name(str(choice.get("name") or choice.get("type")), choice.get("namespace"))
    return {"type": "tool", "name": flat} if flat in bridge.offered else None


def _settings(
    turn: Turn, target: Target, body: dict[str, Any], notes: list[str], thinks: bool
) -> None:
    for name in ("temperature", "top_p", "top_k"):
        value = turn.setting(name)
        if value is None:
            continue
        if thinks and name != "top_p":
            notes.append(f"setting {name} left out: a thinking model takes none")
        else:
            body[name] = min(value, 1) if name == "temperature" else value
    if stop := turn.setting("stop"):
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    user = (turn.setting("metadata") or {}).get("user_id") or turn.setting("user")
    if user and not target.third_party:
        body["metadata"] = {"user_id": user}
    text = turn.setting("text") or {}
    form = text.get("format") or {}
    if form.get("type") == "json_schema":
        schema = {"type": "json_schema", "schema": form.get("schema")}
        body["output_config"] = {"format": schema}
    elif form.get("type") == "json_object":
        body.setdefault("system", []).append(
            {"type": "text", "text": "Answer with one JSON object and nothing else."}
        )
    elif form.get("type") not in (None, "text"):
        notes.append(f"setting text.format {form['type']} left out: no counterpart in Messages")
    if text.get("verbosity"):
        notes.append("setting text.verbosity left out: no counterpart in Messages")
    notes += [
        f"setting {name} left out: no counterpart in Messages"
        for name, raw in turn.fields.items()
        if name not in _READ and bytes(raw) not in _USUAL
    ]
