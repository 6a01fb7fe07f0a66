"""A Chat Completions request of a client as a Turn. Source: OpenAI's API reference (chat)."""

from __future__ import annotations

from typing import Any

import msgspec

from ...turn import Turn, WireError
from ..fields import check_model, top_level
from .read_items import read_items

#: Settings that are canonical as they stand.
_SAME = (
    "model",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "metadata",
    "user",
    "safety_identifier",
    "service_tier",
    "prompt_cache_key",
    "store",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "n",
    "top_k",
)


def read_request(body: bytes) -> Turn:
    """The Turn in ``body``; WireError (400) that names the field when it is none."""
    own = top_level(body, "messages")
    fields = {name: own[name] for name in _SAME if name in own}
    turn = Turn(
        body, fields, protocol="chat", own=own, read_items=lambda: read_items(own["messages"])
    )
    check_model(turn)
    for name in ("max_completion_tokens", "max_tokens"):
        if name in own:
            fields.setdefault("max_output_tokens", own[name])
    tools = _value(own, "tools", list) or [
        {"type": "function", "function": f} for f in _value(own, "functions", list) or ()
    ]
    made = [_tool(tool) for tool in tools]
    if "web_search_options" in own:
        made.append({"type": "web_search"})
    if made:
        _set(fields, "tools", made)
    choice = _any(own, "tool_choice") or _any(own, "function_call")
    if choice is not None:
        _set(fields, "tool_choice", _choice(choice))
    reasoning = _any(own, "reasoning")
    effort = _any(own, "reasoning_effort") or (
        reasoning.get("effort") if isinstance(reasoning, dict) else None
    )
    if effort:
        _set(fields, "reasoning", {"effort": effort})
    text = {"format": _format(_value(own, "response_format", dict))}
    text["verbosity"] = _any(own, "verbosity")
    if text := {name: value for name, value in text.items() if value}:
        _set(fields, "text", text)
    return turn


def _any(own: dict[str, msgspec.Raw], name: str) -> Any:
    raw = own.get(name)
    return None if raw is None else msgspec.json.decode(raw)


def _value(own: dict[str, msgspec.Raw], name: str, kind: type) -> Any:
    value = _any(own, name)
    if value is not None and not isinstance(value, kind):
        raise WireError(f"{name} must be of type {kind.__name__}", param=name)
    return value


def _set(fields: dict[str, msgspec.Raw], name: str, value: Any) -> None:
    fields[name] = msgspec.Raw(msgspec.json.encode(value))


def _tool(tool: Any) -> dict[str, Any]:
    """A tool with what it is at its top level, as the Responses API has it."""
    kind = tool.get("type") if isinstance(tool, dict) else None
    inner = tool.get(kind) if isinstance(tool, dict) and isinstance(kind, str) else None
    if not isinstance(inner, dict):
        if kind in ("function", "custom") or not isinstance(kind, str):
            raise WireError(
                "tools must be a list of objects with a type and a function", param="tools"
            )
        return {"type": kind}
    made = {"type": kind, **inner}
    form = inner.get("format")
    if isinstance(form, dict) and isinstance(form.get("grammar"), dict):
        made["format"] = {"type": "grammar", **form["grammar"]}
    return made


def _choice(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    kind = choice.get("type")
    if kind == "allowed_tools" and isinstance(choice.get("allowed_tools"), dict):
        allowed = choice["allowed_tools"]
        tools = [_choice(tool) for tool in allowed.get("tools") or ()]
        return {"type": kind, "mode": allowed.get("mode") or "auto", "tools": tools}
    inner = choice.get(kind) if isinstance(kind, str) else choice
    name = inner.get("name") if isinstance(inner, dict) else None
    return {"type": kind or "function", "name": name}


def _format(form: dict[str, Any] | None) -> dict[str, Any] | None:
    if form is None or form.get("type") == "text":
        return None
    schema = form.get("json_schema")
    return {"type": form.get("type"), **schema} if isinstance(schema, dict) else form
