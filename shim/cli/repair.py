"""``interpose repair``: which tool calls a text holds, and why what looks like one is none."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..codex.tools import TOOLS
from ..repair.checks import Toolbox
from ..repair.dialects import DIALECTS
from ..repair.forms import forms
from ..repair.scan import Found, Missed, Scanner
from ..tools.bridge import Bridge
from . import UserError

_SHOWN = 70


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The text, the tools, how strict."""
    parser.add_argument("file", metavar="FILE", help="a text, such as a model's answer; - is stdin")
    parser.add_argument(
        "--tools",
        metavar="FILE",
        help="JSON with the tools that are offered, as a list or a whole request; else Codex's own",
    )
    parser.add_argument("--strictness", choices=("strict", "normal", "loose"), default="normal")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """0 where a call was found, else 1."""
    text = sys.stdin.read() if args.file == "-" else _read(args.file)
    tools = _tools(args.tools) if args.tools else list(TOOLS)
    found, missed = look(text, tools, args.strictness)
    if args.json:
        print(json.dumps(as_json(found, missed), indent=1, ensure_ascii=False))
    else:
        print("\n".join(as_lines(found, missed)))
    return 0 if found else 1


def look(
    text: str, tools: list[dict[str, Any]], strictness: str = "normal"
) -> tuple[list[Found], list[Missed]]:
    """The calls in ``text``, and what only looks like one."""
    missed: list[Missed] = []
    box = Toolbox(Bridge(tools), loose=strictness == "loose")
    looked_for = forms(tuple(DIALECTS), box.tags)
    scanner = Scanner(looked_for, box.check, strictness, missed=missed.append)
    pieces = [*scanner.feed(text), *scanner.end()]
    return [piece for piece in pieces if isinstance(piece, Found)], missed


def as_json(found: list[Found], missed: list[Missed]) -> dict[str, Any]:
    """Both as plain values."""
    calls = [
        {
            "dialect": piece.dialect,
            "name": call.name,
            "arguments": json.loads(call.arguments),
            "text": piece.text,
        }
        for piece in found
        for call in piece.calls
    ]
    none = [{"dialect": m.dialect, "why": m.why, "text": m.text[:400]} for m in missed]
    return {"calls": calls, "none": none}


def as_lines(found: list[Found], missed: list[Missed]) -> list[str]:
    """Both for a reader."""
    lines = []
    for piece in found:
        for call in piece.calls:
            lines.append(f"call  {call.name} {call.arguments}{call.note}")
            lines.append(f"      {piece.dialect}: {_short(piece.text)}")
    for miss in missed:
        lines.append(f"text  {_short(miss.text)}")
        lines.append(f"      {miss.dialect or 'no dialect'}: {miss.why}")
    return lines or ["nothing here looks like a tool call"]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text in UTF-8") from None


def _tools(path: str) -> list[dict[str, Any]]:
    """Tools in the words of the Responses, the Chat or the Messages API."""
    try:
        value = json.loads(_read(path))
    except ValueError as e:
        raise UserError(f"{path}: no JSON: {e}") from None
    if isinstance(value, dict):
        value = value.get("tools")
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise UserError(f"{path}: a list of tools is wanted, or an object with one in tools")
    return [_tool(tool) for tool in value]


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if isinstance(tool.get("function"), dict):
        return {"type": "function", **tool["function"]}
    if "input_schema" in tool:
        return {"type": "function", "name": tool.get("name"), "parameters": tool["input_schema"]}
    return tool
