"""Calls as Python: a list of calls, one call per line, between markers or bare."""

from __future__ import annotations

import ast
import re
from typing import Any

from .base import Call, Dialect, Kind, Reading, strip_ends

_WORDS = {"true": True, "false": False, "null": None, "none": None}
_BARE = re.compile(r"\[\s*(?:[A-Za-z_][\w.\-]*\s*(?:\(|$)|$)")


def written(value: Any) -> str:
    """A value as a Python literal."""
    return repr(value)


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in _WORDS:
        return _WORDS[node.id]
    if isinstance(node, ast.Dict):
        if any(key is None for key in node.keys):
            raise ValueError
        return {_value(k): _value(v) for k, v in zip(node.keys, node.values, strict=True) if k}
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    return ast.literal_eval(node)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    raise ValueError


def _call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        raise ValueError
    name = _name(node.func)
    if name == "print" and len(node.args) == 1 and not node.keywords:
        return _call(node.args[0])
    if node.args:
        # One positional value is a custom tool's input; more would be a guess.
        if len(node.args) > 1 or node.keywords:
            raise ValueError
        given = _value(node.args[0])
        if isinstance(given, dict | str):
            return name, given
        raise ValueError
    made: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in made:
            raise ValueError
        made[keyword.arg] = _value(keyword.value)
    return name, made


def calls(text: str) -> list[Call] | None:
    """The calls that ``text`` consists of: a list of them, or one statement each."""
    text = text.strip()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        try:
            # Line breaks in a text that only Python's triple quotes would allow.
            tree = ast.parse(_escaped(text))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    found: list[Call] = []
    try:
        for statement in tree.body:
            if not isinstance(statement, ast.Expr):
                return None
            node = statement.value
            nodes = node.elts if isinstance(node, ast.List | ast.Tuple) else [node]
            found += [_call(part) for part in nodes]
    except (ValueError, TypeError, RecursionError):
        return None
    return found or None


_STRING = re.compile(r"(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')", re.S)


def _escaped(text: str) -> str:
    return _STRING.sub(lambda m: m[0].replace("\n", "\\n"), text)


def _dialect(
    name: str,
    families: str,
    opening: str,
    close: str,
    *,
    form: str = "[{}]",
    kind: Kind = "marked",
    closes: tuple[str, ...] = (),
) -> Dialect:
    openings, ends = (opening.strip(),), tuple(c for c in (close.strip(), *closes) if c)

    def read(text: str, last: bool) -> Reading:
        return calls(strip_ends(text, openings, ends)[0])

    def write(tool: str, arguments: dict[str, Any]) -> str:
        given = ", ".join(f"{k}={written(v)}" for k, v in arguments.items())
        return opening + form.format(f"{tool}({given})") + close

    return Dialect(name, families, openings, ends, read, write, kind)


LLAMA4 = _dialect("llama4_pythonic", "Llama 4", "<|python_start|>", "<|python_end|>")
OLMO3 = _dialect("olmo3", "OLMo 3", "<function_calls>\n", "\n</function_calls>", form="{}")
LFM2 = _dialect("lfm2", "LFM2", "<|tool_call_start|>", "<|tool_call_end|>")


def _read_builtin(text: str, last: bool) -> Reading:
    body = strip_ends(text, ("<|python_tag|>",), ("<|eom_id|>", "<|eot_id|>"))[0]
    found = calls(body)
    return [(name.removesuffix(".call"), given) for name, given in found] if found else None


LLAMA_BUILTIN = Dialect(
    "llama_builtin",
    "Llama 3.1, built-in tools",
    ("<|python_tag|>",),
    (),
    _read_builtin,
    lambda tool, arguments: (
        f"<|python_tag|>{tool}.call("
        + ", ".join(f"{k}={written(v)}" for k, v in arguments.items())
        + ")"
    ),
    "ended",
)


def _read_bare(text: str, last: bool) -> Reading:
    return calls(text) if text.rstrip().endswith("]") else None


PYTHONIC = Dialect(
    "pythonic",
    "Llama 3.2, ToolACE",
    ("[",),
    (),
    _read_bare,
    lambda tool, arguments: (
        f"[{tool}(" + ", ".join(f"{k}={written(v)}" for k, v in arguments.items()) + ")]"
    ),
    "ended",
    lambda text: bool(_BARE.match(text)),
)
