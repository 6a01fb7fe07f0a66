"""What is Codex's own: names that models use for its tools, and what its tools take.

A model trained on another agent calls the shell `bash`, the argument `command`. Such a name is
mapped where one offered tool alone can be meant.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from ..tools.bridge import Bridged

#: Tools that run a command line, the best first.
SHELLS = ("exec_command", "shell_command", "shell", "local_shell", "bash", "run_command")
_SHELL_NAMES = {
    *SHELLS,
    "container.exec",
    "exec",
    "execute",
    "execute_command",
    "execute_bash",
    "run_shell_command",
    "run_terminal_cmd",
    "run_in_terminal",
    "terminal",
    "unified_exec",
}
_PATCH_NAMES = {"apply_patch", "applypatch", "apply-patch", "patch", "apply_diff"}
_COMMANDS = ("cmd", "command", "script", "code", "commands", "command_line", "bash_command")
_FOLDERS = ("workdir", "cwd", "working_directory", "directory", "dir")
_PATCHES = ("input", "patch", "diff", "patch_text", "content", "text", "arguments")
_HEADS = re.compile(r"^(?:functions?|default_api|tools?|multi_tool_use|namespace)[.:/]")
_COUNT = re.compile(r":\d+$")
_PLAIN = re.compile(r"[^a-z0-9]+")
PATCH = re.compile(r"\*\*\* Begin Patch\r?\n.*\r?\n\*\*\* End Patch\s*", re.S)


def runs_or_edits(tool: Bridged) -> bool:
    """Whether a call of ``tool`` with half its arguments could do harm."""
    if tool.kind in ("custom", "local_shell", "shell", "apply_patch"):
        return True
    properties = (tool.parameters or {}).get("properties") if tool.parameters else None
    names = {*properties} if isinstance(properties, dict) else set()
    return not names or bool(
        tool.name in _SHELL_NAMES
        or names & {*_COMMANDS, "patch", "content", "new_string", "chars", "text"}
        or re.search(r"write|edit|patch|delete|exec|create|update|replace|run|shell", tool.name)
    )


def find(name: str, offered: Mapping[str, Bridged]) -> Bridged | None:
    """The one tool that ``name`` can mean; None where it is none or one of several."""
    name = name.strip()
    if name in offered:
        return offered[name]
    bare = _COUNT.sub("", name)
    for _ in range(2):
        bare = _HEADS.sub("", bare)
    if bare in offered:
        return offered[bare]
    wanted = _PLAIN.sub("", bare.lower())
    if not wanted:
        return None
    tools = offered.values()
    for same in (
        lambda t: t.name == bare,
        lambda t: _PLAIN.sub("", f"{t.namespace or ''}{t.name}".lower()) == wanted,
        lambda t: _PLAIN.sub("", t.flat.lower()) == wanted,
        lambda t: _PLAIN.sub("", t.name.lower()) == wanted,
    ):
        found = [tool for tool in tools if tool.kind != "answer" and same(tool)]
        if found:
            return found[0] if len(found) == 1 else None
    if bare.lower() in _SHELL_NAMES:
        shells = [offered[s] for s in SHELLS if s in offered]
        return shells[0] if len(shells) == 1 else None
    if bare.lower() in _PATCH_NAMES:
        return next((t for t in tools if t.name == "apply_patch"), None)
    return None


def translate(tool: Bridged, given: Any) -> Any:
    """Arguments in the words of ``tool``, where the model used another agent's."""
    if tool.kind == "custom":
        return custom(tool, given)
    properties = (tool.parameters or {}).get("properties") if tool.parameters else None
    if not isinstance(properties, dict) or not isinstance(given, dict):
        return given
    made = dict(given)
    if tool.name in SHELLS:
        _rename(made, _COMMANDS, properties)
        _rename(made, _FOLDERS, properties)
        for key in _COMMANDS:
            if key in made and key in properties:
                made[key] = _command(made[key], properties[key])
    if tool.name == "apply_patch":
        _rename(made, _PATCHES, properties)
    return made


def _rename(made: dict[str, Any], words: tuple[str, ...], properties: Mapping[str, Any]) -> None:
    known = [word for word in words if word in properties]
    strange = [word for word in words if word in made and word not in properties]
    if len(known) == 1 and len(strange) == 1 and known[0] not in made:
        made[known[0]] = made.pop(strange[0])


def _command(value: Any, schema: Any) -> Any:
    """A command line as a text or as words, whichever the tool takes."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    if kind == "string" and isinstance(value, list) and all(isinstance(v, str) for v in value):
        if len(value) == 3 and value[0] in ("bash", "sh", "zsh") and value[1] in ("-c", "-lc"):
            return value[2]
        return shlex.join(value)
    if kind == "array" and isinstance(value, str) and not value.lstrip().startswith("["):
        return ["bash", "-lc", value]
    return value


def custom(tool: Bridged, given: Any) -> Any:
    """The input of a custom tool, under the name its function has for it."""
    if isinstance(given, str):
        return {"input": given}
    if isinstance(given, dict):
        texts = [key for key in _PATCHES if isinstance(given.get(key), str)]
        if len(given) == 1 and (texts or isinstance(next(iter(given.values())), str)):
            return {"input": next(iter(given.values()))}
        if "input" in texts:
            return {"input": given["input"]}
    return given
