"""What a response repeats of its request. Source: the Open Responses specification (response).

Codex reads none of it; the official clients and suites want every field.
"""

from __future__ import annotations

from typing import Any

from ...turn import Turn

#: Settings a response repeats, and what they are where the client says nothing.
_ECHOED: dict[str, Any] = {
    "background": False,
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
_TOOL: dict[str, Any] = {"description": None, "parameters": None, "strict": None}


def echo(turn: Turn) -> dict[str, Any]:
    """The fields of a response that its request decides."""
    fields = {name: turn.setting(name, usual) for name, usual in _ECHOED.items()}
    reasoning = turn.setting("reasoning") or {}
    fields["reasoning"] = {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}
    fields["text"] = {"format": {"type": "text"}, **(turn.setting("text") or {})}
    tools = turn.setting("tools") or ()
    fields["tools"] = [
        {**_TOOL, **t} if isinstance(t, dict) and t.get("type") == "function" else t for t in tools
    ]
    return fields
