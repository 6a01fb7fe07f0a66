"""A tiny MCP server on stdio with one tool, `echo_it`, which Codex offers as `mcp__lab`."""

from __future__ import annotations

import json
import sys
from typing import Any

TOOL = {
    "name": "echo_it",
    "description": "Gives its text back.",
    "inputSchema": {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
    },
}


def answer(request: dict[str, Any]) -> dict[str, Any] | None:
    """The result for a request; None for what has none."""
    method, params = request.get("method"), request.get("params") or {}
    if method == "initialize":
        return {
            "protocolVersion": params.get("protocolVersion", "2025-06-18"),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "lab", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": f"echo: {params['arguments']['text']}"}]}
    return {}


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        result = {"jsonrpc": "2.0", "id": message["id"], "result": answer(message)}
        print(json.dumps(result), flush=True)
