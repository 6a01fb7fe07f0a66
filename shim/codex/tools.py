"""The tools Codex itself runs, described for a model: what ``tool_schema_mode: merge`` offers."""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string"}
_WHOLE = {"type": "integer"}

#: In the words of the Responses API.
TOOLS: tuple[dict[str, Any], ...] = (
    {
        "type": "function",
        "name": "exec_command",
        "description": "Runs a command in a shell. Gives back its output, or a session id while "
        "it is still running.",
        "parameters": {
            "type": "object",
            "properties": {
                "cmd": {**_TEXT, "description": "The command line."},
                "workdir": {**_TEXT, "description": "The folder to run it in."},
                "yield_time_ms": {**_WHOLE, "description": "How long to wait for output."},
                "max_output_tokens": {**_WHOLE, "description": "How much output to give back."},
            },
            "required": ["cmd"],
        },
    },
    {
        "type": "function",
        "name": "write_stdin",
        "description": "Writes to a command that is still running, and gives back its output.",
        "parameters": {
            "type": "object",
            "properties": {
                "session_id": {**_WHOLE, "description": "The session exec_command gave back."},
                "chars": {**_TEXT, "description": "What to write; empty only looks."},
                "yield_time_ms": {**_WHOLE, "description": "How long to wait for output."},
            },
            "required": ["session_id"],
        },
    },
    {
        "type": "custom",
        "name": "apply_patch",
        "description": "Changes files. The input is a patch: *** Begin Patch, then Add File, "
        "Update File or Delete File with its lines, then *** End Patch.",
    },
)


def tools_for(protocol: str) -> list[dict[str, Any]]:
    """The tools as a request of ``protocol`` offers them. A freeform tool is a function with one
    text where the protocol has none."""
    if protocol == "responses":
        return [dict(tool) for tool in TOOLS]
    made = []
    for tool in TOOLS:
        schema = tool.get("parameters") or {
            "type": "object",
            "properties": {"input": {**_TEXT, "description": "The whole patch."}},
            "required": ["input"],
        }
        named = {"name": tool["name"], "description": tool["description"]}
        if protocol == "chat":
            made.append({"type": "function", "function": {**named, "parameters": schema}})
        else:
            made.append({**named, "input_schema": schema})
    return made
