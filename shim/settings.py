"""What the settings of a turn must look like: the shapes that somebody here reads, and no more.

What a setting holds besides rides along. Sources: OpenAI's and Anthropic's API references.
"""

from __future__ import annotations

from typing import Any, TypedDict

import msgspec

from .json_text import WireError, join_place

_Number = int | float | None


class _Reasoning(TypedDict, total=False):
    effort: str | None


class _Format(TypedDict, total=False):
    type: str | None
    name: str | None
    description: str | None


class _Text(TypedDict, total=False):
    format: _Format | None
    verbosity: str | None


class _Named(TypedDict, total=False):
    type: str | None
    name: str | None
    namespace: str | None


class _Choice(TypedDict, total=False):
    type: str | None
    name: str | None
    namespace: str | None
    mode: str | None
    tools: list[_Named] | None


class _Tool(TypedDict, total=False):
    type: str | None
    name: str | None
    description: str | None
    tools: list[_Tool] | None


#: By the names of the Responses API; a setting without a shape may be anything.
_SHAPES: dict[str, Any] = {
    "model": str,
    "stream": bool,
    "store": bool,
    "background": bool,
    "instructions": str,
    "previous_response_id": str,
    "parallel_tool_calls": bool,
    "temperature": _Number,
    "top_p": _Number,
    "top_k": _Number,
    "max_output_tokens": _Number,
    "n": _Number,
    "metadata": dict[str, Any],
    "stream_options": dict[str, Any],
    "stop": str | list[str],
    "reasoning": _Reasoning,
    "text": _Text,
    "tool_choice": str | _Choice,
    "tools": list[_Tool],
}
_KINDS = {
    bool: "true or false",
    str: "a string",
    _Number: "a number",
    list[_Tool]: "a list of objects",
}


def check(name: str, value: Any, place: str = "") -> None:
    """WireError that names the place when ``value`` is not what the setting ``name`` must be."""
    shape = _SHAPES.get(name)
    if shape is None:
        return
    place = place or name
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as e:
        problem, _, path = str(e).partition(" - at `$")
        inner = join_place(place, path.rstrip("`").partition("[...]")[0])
        expected = _KINDS.get(shape, "") if inner == place else ""
        problem = f"must be {expected}" if expected else problem
        raise WireError(f"{inner}: {problem}", param=inner) from None
