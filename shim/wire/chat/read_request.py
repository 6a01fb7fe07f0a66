"""A Chat Completions request of a client as a Turn. Source: OpenAI's API reference (chat)."""

from __future__ import annotations

from typing import Any

import msgspec

from ...turn import Turn, WireError
from ..fields import ClientFields, expect, read_body, untranslated_settings
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
_READ = frozenset(
    {
        *_SAME,
        "messages",
        "max_completion_tokens",
        "max_tokens",
        "tools",
        "functions",
        "web_search_options",
        "tool_choice",
        "function_call",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "verbosity",
    }
)


def read_request(body: bytes) -> Turn:
    """The Turn in ``body``; WireError (400) that names the field when it is none."""
    read = read_body(body, "messages")
    own = ClientFields(read)
    fields = {name: own.fields[name] for name in _SAME if name in own.fields}
    untranslated = untranslated_settings(own, _READ)
    turn = Turn(
        read.data,
        fields,
        protocol="chat",
        own=read.fields,
        read_items=lambda: read_items(own.fields["messages"], untranslated),
        has_surrogates=read.has_surrogates,
        untranslated=untranslated,
    )
    for name in ("max_completion_tokens", "max_tokens"):
        if own.value(name, "number") is not None:
            fields.setdefault("max_output_tokens", own.fields[name])
    offered = [
        _tool(tool, f"tools[{n}]") for n, tool in enumerate(own.value("tools", "list") or ())
    ]
    if not offered:
        functions = own.value("functions", "list") or ()
        offered = [_function(f, f"functions[{n}]") for n, f in enumerate(functions)]
    if "web_search_options" in own.fields:
        offered.append({"type": "web_search"})
    if offered:
        _set(fields, "tools", offered)
    for name in ("tool_choice", "function_call"):
        if choice := own.value(name):
            _set(fields, "tool_choice", _choice(choice, name))
            break
    reasoning = own.value("reasoning")
    named = reasoning.get("effort") if isinstance(reasoning, dict) else None
    effort = own.value("reasoning_effort", "text") or expect(named, "text", "reasoning.effort")
    if effort:
        _set(fields, "reasoning", {"effort": effort})
    text = {"format": _format(own.value("response_format", "object"))}
    text["verbosity"] = own.value("verbosity", "text")
    if text := {name: value for name, value in text.items() if value}:
        _set(fields, "text", text)
    return turn


def _set(fields: dict[str, msgspec.Raw], name: str, value: Any) -> None:
    fields[name] = msgspec.Raw(msgspec.json.encode(value))


def _tool(tool: Any, place: str) -> dict[str, Any]:
    """A tool with what it is at its top level, as the Responses API has it."""
    kind = tool.get("type") if isinstance(tool, dict) else None
    inner = tool.get(kind) if isinstance(tool, dict) and isinstance(kind, str) else None
    if not isinstance(inner, dict):
        if kind in ("function", "custom") or not isinstance(kind, str):
            raise WireError(
                f"{place}: tools must be a list of objects with a type and a function",
                param=place,
            )
        return {"type": kind}
    offered = {"type": kind, **_named(inner, f"{place}.{kind}")}
    form = inner.get("format")
    if isinstance(form, dict) and isinstance(form.get("grammar"), dict):
        offered["format"] = {"type": "grammar", **form["grammar"]}
    return offered


def _function(function: Any, place: str) -> dict[str, Any]:
    """A tool of the old form."""
    if not isinstance(function, dict):
        raise WireError(f"{place} must be an object", param=place)
    return {"type": "function", **_named(function, place)}


def _named(inner: dict[str, Any], place: str) -> dict[str, Any]:
    for name in ("name", "description"):
        expect(inner.get(name), "text", f"{place}.{name}")
    return {name: value for name, value in inner.items() if name != "type"}


def _choice(choice: Any, place: str) -> Any:
    if isinstance(choice, str):
        return choice
    if not isinstance(choice, dict):
        raise WireError(f"{place} must be a string or an object", param=place)
    kind = expect(choice.get("type"), "text", f"{place}.type")
    if kind == "allowed_tools" and isinstance(choice.get("allowed_tools"), dict):
        allowed, place = choice["allowed_tools"], f"{place}.allowed_tools"
        tools = expect(allowed.get("tools"), "list", f"{place}.tools") or ()
        mode = expect(allowed.get("mode"), "text", f"{place}.mode")
        named = [_choice(tool, f"{place}.tools[{n}]") for n, tool in enumerate(tools)]
        return {"type": kind, "mode": mode or "auto", "tools": named}
    inner = choice.get(kind) if isinstance(kind, str) else choice
    name = inner.get("name") if isinstance(inner, dict) else None
    expect(name, "text", f"{place}.{kind}.name" if kind else f"{place}.name")
    return {"type": kind or "function", "name": name}


def _format(form: dict[str, Any] | None) -> dict[str, Any] | None:
    place = "response_format"
    kind = expect(form.get("type"), "text", f"{place}.type") if form else None
    if form is None or kind == "text":
        return None
    schema = form.get("json_schema")
    if not isinstance(schema, dict):
        return form
    return {**_named(schema, f"{place}.json_schema"), "type": kind}
