"""Calls as JSON between markers: a name and arguments under whatever keys, one or several."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..arguments import AROUND, mend, open_string, values
from .base import MORE, Call, Cut, Dialect, Kind, Read, Reading, dumps, strip_ends

NAMES = ("name", "tool_name", "tool", "function_name", "function", "action", "recipient_name")
ARGUMENTS = (
    "arguments",
    "parameters",
    "args",
    "params",
    "input",
    "tool_input",
    "action_input",
    "tool_args",
    "kwargs",
)


def call_of(value: Any) -> Call | None:
    """The call that a JSON value says; None when it says none."""
    if not isinstance(value, dict):
        return None
    inner = value.get("function") or value.get("function_call") or value.get("tool_call")
    if isinstance(inner, dict):
        return call_of(inner)
    name = next((value[k] for k in NAMES if isinstance(value.get(k), str)), None)
    if not name:
        return None
    given = next((value[k] for k in ARGUMENTS if k in value), None)
    if given is None:
        given = {}
    if isinstance(given, str):
        # Some write the arguments as JSON in a text.
        again = mend(given) if given.strip() else None
        if again and isinstance(again.value, dict):
            return name, Cut(again.value) if again.cut else again.value
        return name, given if given.strip() else {}
    return (name, given) if isinstance(given, dict) else None


def by_key(value: Any) -> Call | None:
    """``{"f": {"k": "v"}}``: the name is the only key."""
    if isinstance(value, dict) and len(value) == 1:
        ((name, given),) = value.items()
        if isinstance(given, dict):
            return name, given
    return call_of(value)


def calls_in(found: list[Any] | None, one: Callable[[Any], Call | None] = call_of) -> Reading:
    """The calls of JSON values, of which each is a call or a list of them."""
    if not found:
        return None
    calls: list[Call] = []
    for value in found:
        for item in value if isinstance(value, list) else [value]:
            call = one(item)
            if call is None:
                return None
            calls.append(call)
    return calls or None


def _little_around(body: str) -> bool:
    """Whether hardly more than an object stands there."""
    before, after = body.partition("{")[0], body.rpartition("}")[2]
    return len(before) <= 40 and len(after) <= 40 and "<" not in before + after


def arguments_of(text: str, closed: bool = False) -> Any:
    """The arguments in ``text``: an object, {} for nothing, None where it is neither. ``closed``:
    it has an end."""
    if not text.strip():
        return {}
    mended = mend(text)
    if mended and isinstance(mended.value, str):
        mended = mend(mended.value)
    if mended is None or not isinstance(mended.value, dict):
        return None
    if not closed and mended.how == AROUND:
        return None
    unsure = mended.cut if closed else mended.completed
    return Cut(mended.value) if unsure else mended.value


def body_calls(
    body: str, closed: bool, last: bool, one: Callable[[Any], Call | None] = call_of
) -> Reading:
    """The calls of a JSON body, mended where it must be."""
    body = body.strip().strip("`").strip()
    found = values(body)
    if found is None:
        if not last and open_string(body):
            return MORE
        if not body.startswith(("{", "[", '"')) and not _little_around(body):
            return None
        mended = mend(body)
        if mended is None or (not closed and mended.how == AROUND):
            return None
        if mended.cut and not closed:
            return None
        calls = calls_in([mended.value], one)
        unsure = mended.cut if closed else mended.completed
        if unsure and isinstance(calls, list):
            return [(n, Cut(a) if isinstance(a, dict) else a) for n, a in calls]
        return calls
    if len(found) == 1 and isinstance(found[0], str):
        again = mend(found[0])
        found = [again.value] if again else None
    return calls_in(found, one)


def between(
    openings: tuple[str, ...],
    closes: tuple[str, ...],
    one: Callable[[Any], Call | None] = call_of,
) -> Read:
    """A reader for JSON between these markers."""

    def read(text: str, last: bool) -> Reading:
        body, closed = strip_ends(text, openings, closes)
        return body_calls(body, closed, last, one)

    return read


def dialect(
    name: str,
    families: str,
    opening: str,
    close: str,
    *,
    form: str = '{"name": NAME, "arguments": ARGS}',
    more: tuple[str, ...] = (),
    closes: tuple[str, ...] = (),
    one: Callable[[Any], Call | None] = call_of,
    kind: Kind = "marked",
    alive: Callable[[str], bool] | None = None,
) -> Dialect:
    """A dialect that is JSON in ``form`` between ``opening`` and ``close``."""
    openings = (opening.strip(), *more)
    ends = tuple(c for c in (close.strip(), *closes) if c)

    def write(tool: str, arguments: dict[str, Any]) -> str:
        said = form.replace("NAME", dumps(tool)).replace("ARGS", dumps(arguments))
        return opening + said + close

    return Dialect(name, families, openings, ends, between(openings, ends, one), write, kind, alive)


HERMES = dialect("hermes", "Hermes 2/3, Qwen 2.5/3, QwQ, Trinity", "<tool_call>", "</tool_call>")
TOOL_CALLS_ARRAY = dialect(
    "tool_calls_array",
    "Hunyuan A13B, Jamba",
    "<tool_calls>",
    "</tool_calls>",
    form='[{"name": NAME, "arguments": ARGS}]',
)
TOOL_CALLS_LINES = dialect("tool_calls_lines", "MiniMax-M1", "<tool_calls>\n", "\n</tool_calls>")
LLAMA_JSON = dialect(
    "llama_json",
    "Llama 3.1 to 3.3, 4",
    "<|python_tag|>",
    "",
    form='{"name": NAME, "parameters": ARGS}',
    closes=("<|eom_id|>", "<|eot_id|>"),
    kind="ended",
)
MISTRAL = dialect(
    "mistral",
    "Mistral 7B, Nemo, Large (tokenizer up to v7)",
    "[TOOL_CALLS] ",
    "",
    form='[{"name": NAME, "arguments": ARGS}]',
    closes=("</s>",),
    kind="ended",
)
FUNCTOOLS = dialect(
    "functools",
    "Phi-4-mini, FireFunction v2",
    "functools",
    "",
    form='[{"name": NAME, "arguments": ARGS}]',
    kind="ended",
    alive=lambda text: bool(re.match(r"functools\s*(?:$|\[\s*(?:$|\{))", text)),
)
INTERNLM = dialect(
    "internlm",
    "InternLM 2/3, Intern-S1",
    "<|action_start|><|plugin|>",
    "<|action_end|>",
    form='{"name": NAME, "parameters": ARGS}',
    more=("<|action_start|>",),
)
GRANITE = dialect(
    "granite",
    "Granite 3/4",
    "<|tool_call|>",
    "",
    form='[{"name": NAME, "arguments": ARGS}]',
    closes=("<|end_of_text|>",),
    kind="ended",
)
GRANITE_20B = dialect(
    "granite_20b",
    "Granite-20B-FC",
    "<function_call> ",
    "",
    kind="ended",
    closes=("</function_call>",),
)
COHERE = dialect(
    "cohere",
    "Command R7B, A, 4",
    "<|START_ACTION|>",
    "<|END_ACTION|>",
    form='[{"tool_call_id": "0", "tool_name": NAME, "parameters": ARGS}]',
)
APERTUS = dialect(
    "apertus",
    "Apertus 2509",
    "<|tools_prefix|>",
    "<|tools_suffix|>",
    form="[{NAME: ARGS}]",
    one=by_key,
)
NEMOTRON = dialect(
    "nemotron",
    "Nemotron Nano v2",
    "<TOOLCALL>",
    "</TOOLCALL>",
    form='[{"name": NAME, "arguments": ARGS}]',
)
GIGACHAT = dialect(
    "gigachat3",
    "GigaChat 3, 3.5",
    "<|function_call|>",
    "",
    more=("function call<|role_sep|>",),
    closes=("</s>",),
    kind="ended",
)
ERNIE = dialect("ernie45", "ERNIE 4.5", "<tool_call>\n", "\n</tool_call>")
LONGCAT = dialect("longcat", "LongCat", "<longcat_tool_call>", "</longcat_tool_call>")
