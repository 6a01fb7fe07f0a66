"""What a model is told of its tools where it is to call them in text."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ..tools.bridge import Bridged


def describe(tools: Iterable[Bridged]) -> str:
    """The tools, and how to call them in the Hermes form."""
    lines = [
        "You can call these tools. To call one, write nothing but this, with the tool's name and "
        "its arguments:",
        '<tool_call>{"name": "NAME", "arguments": {"PARAMETER": "VALUE"}}</tool_call>',
        "",
    ]
    for tool in tools:
        schema = json.dumps(tool.parameters or {}, ensure_ascii=False)
        lines.append(f"{tool.flat}: {tool.description}\n  arguments: {schema}")
    return "\n".join(lines)
