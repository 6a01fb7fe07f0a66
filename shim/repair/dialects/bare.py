"""Calls without markers: JSON that a message ends with, a fence with a call, ReAct, tags named as a
tool, a patch for Codex."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..arguments import mend
from .base import Dialect, Reading, dumps, inner, shown
from .jsons import ARGUMENTS, NAMES, arguments_of, body_calls
from .python import calls as python_calls
from .python import written

_KEYS = {*NAMES, *ARGUMENTS, "id", "type", "tool_call_id", "call_id", "function_call", "tool_call"}
_FIRST = re.compile(r'[\[\s]*\{\s*(?:"([^"]*)("?)|$)')


def _may_be_call(text: str) -> bool:
    """Whether JSON that begins so may say a call: its first key is one that calls have."""
    if not text.strip("[ \t\r\n"):
        return True
    first = _FIRST.match(text)
    if not first:
        return False
    key = first[1]
    if key is None:
        return True
    return key in _KEYS if first[2] else any(k.startswith(key) for k in _KEYS)


def _read_json(text: str, last: bool) -> Reading:
    if not text.rstrip().endswith(("}", "]", "<|eom_id|>", "<|eot_id|>", "</s>")):
        return None
    return body_calls(re.sub(r"(?:<\|e[om]{1,2}t?_id\|>|</s>)\s*$", "", text), False, last)


XLAM = Dialect(
    "xlam",
    "xLAM, Hammer, Llama 3 without its token, any small model",
    ("{", "["),
    (),
    _read_json,
    lambda tool, arguments: f'[{{"name": {dumps(tool)}, "arguments": {dumps(arguments)}}}]',
    "ended",
    _may_be_call,
)

_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*([\w+-]*)[ \t]*\r?\n(.*?)(?:\n[ ]{0,3}\1[`~]*\s*)?$", re.S)
#: Words behind a fence that a call may stand in.
CALL_FENCES = {"", "json", "tool_call", "tool", "tool_calls", "function_call", "xml", "jsonc"}
_PATCH_FENCES = {"", "diff", "patch", "bash", "sh", "shell", "text", "apply_patch"}
_PYTHON_FENCES = {"tool_code", "tool_call"}


def _fence_alive(words: set[str], begins: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a fence that begins so has one of ``words`` behind it, and what it may hold."""
    head = re.compile(r"(?:`{1,}|~{1,})[ \t]*([\w+-]*)[ \t]*(\r?\n\s*)?(.*)", re.S)

    def alive(text: str) -> bool:
        match = head.match(text)
        if not match:
            return False
        word, line, body = match[1].lower(), match[2], match[3]
        if line is None:
            return not body and any(w.startswith(word) for w in words)
        if word not in words:
            return False
        return any(body.startswith(b) or b.startswith(body) for b in begins) if begins else True

    return alive


def fence_of(text: str) -> tuple[str, str] | None:
    """The word behind a fence and what stands in it; None where ``text`` is no whole fence."""
    match = _FENCE.match(text.strip())
    if not match or not text.strip().endswith(match[1]):
        return None
    return match[2].lower(), match[3]


def _read_fenced_json(text: str, last: bool) -> Reading:
    fence = fence_of(text)
    if fence is None or fence[0] not in CALL_FENCES:
        return None
    body = fence[1].strip()
    return body_calls(body, True, last) if body.startswith(("{", "[")) else None


FENCED_JSON = Dialect(
    "fenced_json",
    "any small model",
    ("```", "~~~"),
    (),
    _read_fenced_json,
    lambda tool, arguments: (
        f'```json\n{{"tool": {dumps(tool)}, "arguments": {dumps(arguments)}}}\n```'
    ),
    "fenced",
    _fence_alive(CALL_FENCES, ("{", "[")),
)


def _read_tool_code(text: str, last: bool) -> Reading:
    fence = fence_of(text)
    if fence is None or fence[0] not in _PYTHON_FENCES:
        return None
    found = python_calls(fence[1])
    return [(name.removeprefix("default_api."), given) for name, given in found] if found else None


TOOL_CODE = Dialect(
    "tool_code",
    "Gemini, Gemma 3",
    ("```", "~~~"),
    (),
    _read_tool_code,
    lambda tool, arguments: (
        f"```tool_code\nprint(default_api.{tool}("
        + ", ".join(f"{k}={written(v)}" for k, v in arguments.items())
        + "))\n```"
    ),
    "fenced",
    _fence_alive(_PYTHON_FENCES, ()),
)

_REACT = re.compile(
    r"Action:[ \t]*(?P<name>[\w.\-/:]+)[ \t]*\n+[ \t]*Action Input:\s*(?P<body>.*)", re.S
)
_OBSERVED = re.compile(r"\n\s*(?:Observation|Thought):\s*$")


def _read_react(text: str, last: bool) -> Reading:
    match = _REACT.match(text.strip())
    if not match:
        return None
    body = _OBSERVED.sub("", match["body"]).strip()
    fence = fence_of(body)
    arguments = arguments_of(fence[1] if fence else body)
    return None if arguments is None else [(match["name"], arguments)]


REACT = Dialect(
    "react",
    "any, prompted to think and act",
    ("Action:",),
    (),
    _read_react,
    lambda tool, arguments: f"Action: {tool}\nAction Input: {dumps(arguments)}",
    "ended",
    lambda text: bool(
        re.match(r"Action:[ \t]*(?:[\w.\-/:]*[ \t]*(?:$|\n+\s*(?:$|A|Action)))", text)
    ),
)

_TAG = re.compile(r"<([A-Za-z_][\w.-]*)>(.*?)</\1>", re.S)


def _read_tags(text: str, last: bool) -> Reading:
    """A tag named as a tool, with one tag per argument."""
    text = text.strip()
    whole = re.match(r"<([A-Za-z_][\w.-]*)>(.*)</\1>\s*$", text, re.S)
    if not whole:
        return None
    made: dict[str, Any] = {}
    body, at = whole[2], 0
    for tag in _TAG.finditer(body):
        if body[at : tag.start()].strip() or tag[1] in made:
            return None
        made[tag[1]] = inner(tag[2])
        at = tag.end()
    if not made and body.strip().startswith("*** Begin Patch"):
        return [(whole[1], body.strip())]
    if body[at:].strip() or not made:
        return None
    if whole[1] == "use_mcp_tool":
        given = mend(made.get("arguments") or "{}")
        if given is None or not isinstance(given.value, dict):
            return None
        return [(f"{made.get('server_name')}.{made.get('tool_name')}", given.value)]
    return [(whole[1], made)]


def _write_tags(tool: str, arguments: dict[str, Any]) -> str:
    values = "".join(f"<{k}>{shown(v)}</{k}>\n" for k, v in arguments.items())
    return f"<{tool}>\n{values}</{tool}>"


#: Its openings are the names that are offered: see `shim.repair.openings`.
CLINE = Dialect(
    "cline",
    "Cline's and Roo's prompts, any model",
    ("<use_mcp_tool>",),
    ("</use_mcp_tool>",),
    _read_tags,
    _write_tags,
)

_PATCH = re.compile(r"\*\*\* Begin Patch\n.*\n\*\*\* End Patch(?=\s|$)", re.S)
_HEREDOC = re.compile(
    r"(?:\$ )?apply_patch\s*<<\s*['\"]?(\w+)['\"]?\s*\n"
    r"(?P<patch>\*\*\* Begin Patch\n.*\n\*\*\* End Patch)\s*\n\1\s*$",
    re.S,
)


def read_patch(text: str, last: bool) -> Reading:
    """A patch as Codex's own tool takes it, bare, in a heredoc, or in a fence."""
    text = text.strip()
    fence = fence_of(text)
    if fence is not None:
        if fence[0] not in _PATCH_FENCES:
            return None
        text = fence[1].strip()
    heredoc = _HEREDOC.match(text)
    bare = _PATCH.fullmatch(text)
    patch = heredoc["patch"] if heredoc else bare[0] if bare else None
    if patch is None or patch.count("*** Begin Patch") != 1:
        return None
    return [("apply_patch", patch)]


def _write_patch(tool: str, arguments: dict[str, Any]) -> str:
    return str(arguments.get("input") or next(iter(arguments.values()), ""))


CODEX_PATCH = Dialect(
    "codex_patch",
    "any model that has seen Codex's prompts",
    ("*** Begin Patch", "apply_patch <<", "$ apply_patch <<"),
    (),
    read_patch,
    _write_patch,
    "ended",
)
FENCED_PATCH = Dialect(
    "fenced_patch",
    "any model that has seen Codex's prompts",
    ("```", "~~~"),
    (),
    read_patch,
    lambda tool, arguments: f"```patch\n{_write_patch(tool, arguments)}\n```",
    "fenced",
    _fence_alive(_PATCH_FENCES, ("*** Begin Patch", "apply_patch", "$ apply_patch")),
)
