"""A Messages request of a client as a Turn. Source: Anthropic's API reference (messages)."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ...turn import Turn, WireError
from ..fields import ClientFields, expect, read_body, untranslated_settings
from .read_items import read_items

#: Settings that mean the same under the same name.
_SAME = ("model", "stream", "temperature", "top_p", "top_k", "metadata", "service_tier")
_READ = frozenset(
    {
        *_SAME,
        "messages",
        "system",
        "max_tokens",
        "stop_sequences",
        "tools",
        "tool_choice",
        "output_config",
        "output_format",
        "thinking",
    }
)
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
#: Up to how many tokens of thinking are which effort.
_EFFORTS = ((2048, "low"), (9999, "medium"))
#: How the types of tools begin with which the API itself searches among deferred ones.
_SEARCH = "tool_search_tool_"
#: The tools that a search of the client has found; in a string's text the quotes are escaped.
_FOUND = re.compile(rb'"tool_name"\s*:\s*"([^"\\]+)"')
_TEXT = {"type": "string"}
_NUMBERS = {"type": "array", "items": {"type": "integer"}}


def _schema(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


#: Tools that the client runs itself and whose schema Anthropic's models know by heart, by how
#: their types begin.
_CLIENT_TOOLS: dict[str, dict[str, Any]] = {
    "bash_": _schema(command=_TEXT, restart={"type": "boolean"}),
    "text_editor_": _schema(
        "command",
        "path",
        command={"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
        path=_TEXT,
        file_text=_TEXT,
        old_str=_TEXT,
        new_str=_TEXT,
        insert_line={"type": "integer"},
        insert_text=_TEXT,
        view_range=_NUMBERS,
    ),
    "computer_": _schema(
        "action",
        action=_TEXT,
        coordinate=_NUMBERS,
        start_coordinate=_NUMBERS,
        text=_TEXT,
        scroll_direction={"type": "string", "enum": ["up", "down", "left", "right"]},
        scroll_amount={"type": "integer"},
        duration={"type": "number"},
    ),
    "memory_": _schema(
        "command",
        command=_TEXT,
        path=_TEXT,
        file_text=_TEXT,
        old_str=_TEXT,
        new_str=_TEXT,
        insert_line={"type": "integer"},
        insert_text=_TEXT,
        old_path=_TEXT,
        new_path=_TEXT,
    ),
}


def read_request(body: bytes) -> Turn:
    """The Turn in ``body``; WireError (400) that names the field when it is none."""
    read = read_body(body, "messages")
    own = ClientFields(read)
    fields = {name: own.fields[name] for name in _SAME if name in own.fields}
    untranslated = untranslated_settings(own, _READ)
    turn = Turn(
        read.data,
        fields,
        protocol="messages",
        own=read.fields,
        read_items=lambda: read_items(
            own.fields.get("system"), own.fields["messages"], untranslated
        ),
        has_surrogates=read.has_surrogates,
        untranslated=untranslated,
    )
    _set(fields, "max_output_tokens", own.value("max_tokens", "number"))
    _set(fields, "stop", own.value("stop_sequences", "list"))
    _set(fields, "tools", _tools(own.value("tools", "list") or (), read.data) or None)
    choice = own.value("tool_choice", "object") or {}
    if kind := expect(choice.get("type"), "text", "tool_choice.type"):
        _set(fields, "tool_choice", _CHOICES.get(kind) or _named(choice))
    if choice.get("disable_parallel_tool_use"):
        _set(fields, "parallel_tool_calls", False)
    output = own.value("output_config", "object") or {}
    form = output.get("format") or own.value("output_format", "object")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        schema = {"type": "json_schema", "name": "answer", "schema": form.get("schema")}
        _set(fields, "text", {"format": {**schema, "strict": True}})
    named = expect(output.get("effort"), "text", "output_config.effort")
    if effort := _effort(own.value("thinking", "object"), named):
        _set(fields, "reasoning", {"effort": effort})
    return turn


def _set(fields: dict[str, msgspec.Raw], name: str, value: Any) -> None:
    if value is not None:
        fields[name] = msgspec.Raw(msgspec.json.encode(value))


def _named(choice: dict[str, Any]) -> dict[str, Any] | None:
    name = expect(choice.get("name"), "text", "tool_choice.name")
    return {"type": "function", "name": name} if name else None


def _effort(thinking: dict[str, Any] | None, named: Any) -> str | None:
    if isinstance(named, str):
        return named
    kind = (thinking or {}).get("type")
    if kind == "enabled":
        budget = (thinking or {}).get("budget_tokens")
        tokens = budget if isinstance(budget, int) else 0
        return next((effort for most, effort in _EFFORTS if tokens <= most), "high")
    return "none" if kind == "disabled" else None


def _tools(tools: Any, body: bytes) -> list[dict[str, Any]]:
    """The tools a model is to see: the API hides a deferred one until a `tool_reference` names it,
    unless it searches for tools itself, which nobody behind the chain would do for it."""
    offered = [_tool(tool, f"tools[{n}]") for n, tool in enumerate(tools)]
    deferred = {t.get("name") for t in tools if t.get("defer_loading")}
    if not deferred or any(t["type"].startswith(_SEARCH) for t in offered):
        return offered
    hidden = deferred - {name.decode() for name in _FOUND.findall(body)}
    return [tool for tool in offered if tool.get("name") not in hidden]


def _tool(tool: Any, place: str) -> dict[str, Any]:
    """A tool in the words of the Responses API; one that runs at Anthropic keeps its type only."""
    if not isinstance(tool, dict):
        raise WireError(f"{place} must be an object", param=place)
    for name in ("type", "name", "description"):
        expect(tool.get(name), "text", f"{place}.{name}")
    kind = tool.get("type") or "custom"
    schema = tool.get("input_schema")
    if schema is None:
        schema = next((s for head, s in _CLIENT_TOOLS.items() if kind.startswith(head)), None)
        if schema is None:
            return {"type": kind}
    offered = {"type": "function", "name": tool.get("name"), "parameters": schema}
    offered["description"] = tool.get("description") or ""
    offered["strict"] = bool(tool.get("strict"))
    return offered
