"""The Hermes form of a call in text: JSON between two tags. Qwen and many others write it too."""

from __future__ import annotations

import json
from collections.abc import Iterable

import msgspec

from ..tools.bridge import Bridged

OPEN, CLOSE = "<tool_call>", "</tool_call>"


def parse(inner: str) -> tuple[str, str] | None:
    """(name, arguments as JSON) of what stands between the tags; None when it is no call."""
    try:
        value = msgspec.json.decode(inner.strip())
    except (msgspec.DecodeError, UnicodeError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", {})
    if isinstance(arguments, str):
        # Some write the arguments as JSON in a text.
        try:
            arguments = msgspec.json.decode(arguments)
        except (msgspec.DecodeError, UnicodeError):
            return None
    if not isinstance(arguments, dict):
        return None
    return value["name"], json.dumps(arguments, ensure_ascii=False)


def describe(tools: Iterable[Bridged]) -> str:
    """What a model is told of the tools and of how to call them in text."""
    lines = [
        "You can call these tools. To call one, write nothing but this, with the tool's name and "
        "its arguments:",
        OPEN + '{"name": "NAME", "arguments": {"PARAMETER": "VALUE"}}' + CLOSE,
        "",
    ]
    for tool in tools:
        schema = json.dumps(tool.parameters or {}, ensure_ascii=False)
        lines.append(f"{tool.flat}: {tool.description}\n  arguments: {schema}")
    return "\n".join(lines)
