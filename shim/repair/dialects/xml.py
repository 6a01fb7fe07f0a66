"""Calls as elements: an invoke with named parameters (Anthropic's form and its many relatives), and
a function with parameters (Qwen3-Coder's form and its relatives)."""

from __future__ import annotations

import re
from typing import Any

from ..arguments import mend, open_string
from .base import MORE, Call, Cut, Dialect, Reading, dumps, inner, shown
from .jsons import arguments_of

#: What may stand before a tag's name: a namespace, or DeepSeek's mark in all its leaked forms.
_MARK = r"(?:[｜|‖]{1,2}\s?DSML\s?[｜|‖]{1,2}\s?)"
_PREFIX = rf"(?:[A-Za-z]+:|{_MARK})?"
_WRAPPERS = "function_calls|function_call|tool_calls|tool_call|tool_use|calls|dots_function_call"
_INVOKE = re.compile(
    rf"<\s*{_PREFIX}\s*(?:invoke|rivoke|function_call)\s+"
    r"name\s*=\s*[\"']?([^\"'>]+)[\"']?[^>]*>"
)
_INVOKE_END = re.compile(rf"</\s*{_PREFIX}\s*(?:invoke|rivoke)\s*>")
_PARAMETER = re.compile(
    rf"<\s*{_PREFIX}\s*parameter\s+r?name\s*=\s*[\"']?([^\"'>\s]+)[\"']?([^>]*)>"
)
_PARAMETER_END = re.compile(rf"</\s*{_PREFIX}\s*parameter\s*>\s*$")
_TAILS = re.compile(
    rf"(?:\s*</\s*{_PREFIX}\s*(?:invoke|rivoke|{_WRAPPERS}|function)\s*>|"
    r"\s*<｜tool_calls?_end｜>)+\s*$"
)
_FUNCTION = re.compile(r"<function(?:=|\s+name\s*=\s*)\s*[\"']?([^\"'>\s]+?)[\"']?\s*>")
_VALUE = re.compile(
    r"<(?:parameter=|param(?:eter)?\s+name\s*=\s*)\s*[\"']?([^\"'>\s]+?)[\"']?\s*()>"
)
_VALUE_END = re.compile(r"</param(?:eter)?\s*>\s*$")
_FUNCTION_TAILS = re.compile(r"(?:\s*</(?:function|tool_call|seed:tool_call|tool_calls)\s*>)+\s*$")
_LONGEST_TAILS = 600
#: A call or value that may hold more calls than this in itself is none.
_NESTED = 40
_CDATA = re.compile(r"^\s*<!\[CDATA\[(.*)\]\]>\s*$", re.S)


def _elements(
    text: str, opens: re.Pattern[str], ends: re.Pattern[str]
) -> list[tuple[re.Match[str], str, bool]] | None:
    """The elements that follow each other in ``text``: opening, content, whether it was closed.

    A value may hold such tags itself: a new element only begins where the one before has ended.
    """
    found: list[tuple[re.Match[str], str, bool]] = []
    at = opens.search(text)
    if at is None:
        return [] if not text.strip() else None
    if text[: at.start()].strip():
        return None
    while at is not None:
        search = at.end()
        for _ in range(_NESTED):
            nxt = opens.search(text, search)
            part = text[at.end() : nxt.start() if nxt else len(text)].rstrip()
            end = ends.search(part)
            if nxt is None or end or not part:
                break
            search = nxt.end()
        else:
            return None
        found.append((at, part[: end.start()] if end else part, end is not None))
        at = nxt
    return found


def _arguments(body: str, opens: re.Pattern[str], ends: re.Pattern[str]) -> dict[str, Any] | None:
    """The parameters in an element, cut where one has no end; None where there is other text."""
    if not body.strip():
        return {}
    elements = _elements(body, opens, ends)
    if elements is None:
        if body.strip().startswith(("{", '"')):
            given = arguments_of(body, True)
            return given if isinstance(given, dict) else None
        return None
    made: dict[str, Any] = {} if all(closed for _, _, closed in elements) else Cut()
    for at, value, closed in elements:
        if at[1] in made:
            return None
        data = _CDATA.match(value)
        said: Any = data[1] if data else inner(value)
        if not closed:
            said = said.rstrip()
        if 'string="false"' in at[2]:
            told = mend(said)
            said = told.value if told else said
        made[at[1]] = said
    return made


def _whole(body: str, tails: re.Pattern[str]) -> tuple[str, bool]:
    # Only the end matters, and a long run of spaces would be looked at again and again.
    body = body.rstrip()
    first = max(0, len(body) - _LONGEST_TAILS)
    end = tails.search(body, first)
    return (body[: end.start()], True) if end else (body, False)


def _calls(
    text: str,
    last: bool,
    calls: re.Pattern[str],
    tails: re.Pattern[str],
    opens: re.Pattern[str],
    ends: re.Pattern[str],
) -> Reading:
    """Calls of elements in ``text``, each with its parameters."""
    found: list[Call] = []
    at = calls.search(text)
    if at is None:
        return None
    while at is not None:
        search = at.end()
        for _ in range(_NESTED):
            nxt = calls.search(text, search)
            part = text[at.end() : nxt.start() if nxt else len(text)]
            body, closed = _whole(part, tails)
            if nxt is None or closed:
                break
            search = nxt.end()
        else:
            return None
        if not closed and not last:
            return MORE
        if body.count("<parameter") > body.count("</parameter") and not last:
            return MORE
        arguments = _arguments(body, opens, ends)
        if arguments is None:
            return None if last or not open_string(body) else MORE
        found.append((at[1].strip(), arguments if closed else Cut(arguments)))
        at = nxt
    return found


def read_invokes(text: str, last: bool) -> Reading:
    """Invokes with parameters, in a wrapper or none."""
    return _calls(text, last, _INVOKE, _TAILS, _PARAMETER, _PARAMETER_END)


def read_functions(text: str, last: bool) -> Reading:
    """Functions with parameters or a JSON object, in a wrapper or none."""
    return _calls(text, last, _FUNCTION, _FUNCTION_TAILS, _VALUE, _VALUE_END)


def _invokes(
    name: str,
    families: str,
    prefix: str,
    wrapper: str,
    more: tuple[str, ...] = (),
    closes: tuple[str, ...] = (),
    typed: bool = False,
    lead: str = "",
) -> Dialect:
    """A dialect of invokes: ``prefix`` on every tag, in ``wrapper`` unless that is empty."""
    begin = f"<{prefix}{wrapper}>" if wrapper else ""
    end = f"</{prefix}{wrapper}>" if wrapper else ""

    def write(tool: str, arguments: dict[str, Any]) -> str:
        lines = [f'<{prefix}invoke name="{tool}">']
        for key, value in arguments.items():
            kind = f' string="{"true" if isinstance(value, str) else "false"}"' if typed else ""
            lines.append(
                f'<{prefix}parameter name="{key}"{kind}>{shown(value)}</{prefix}parameter>'
            )
        lines.append(f"</{prefix}invoke>")
        parts = [begin, *lines, end] if wrapper else lines
        return lead + "\n".join(parts)

    opening = begin or f"<{prefix}invoke name="
    return Dialect(
        name,
        families,
        (opening, *more),
        (end or f"</{prefix}invoke>", *closes),
        read_invokes,
        write,
    )


def _functions(name: str, families: str, wrapper: str, *, spaced: bool = True) -> Dialect:
    begin, end = (f"<{wrapper}>\n", f"\n</{wrapper}>") if wrapper else ("", "")

    def write(tool: str, arguments: dict[str, Any]) -> str:
        values = [f"<parameter={k}>\n{shown(v)}\n</parameter>\n" for k, v in arguments.items()]
        return f"{begin}<function={tool}>\n{''.join(values)}</function>{end}"

    opening, close = begin.strip() or "<function=", end.strip() or "</function>"
    return Dialect(name, families, (opening,), (close,), read_functions, write)


_ANT = "ant" + "ml:"
ANTHROPIC = _invokes("anthropic", "Claude, many prompts", "", "function_calls")
ANTHROPIC_NS = _invokes("anthropic_ns", "Claude, with its namespace", _ANT, "function_calls")
BARE_INVOKE = _invokes(
    "bare_invoke",
    "Claude, DeepSeek and GPT, contaminated",
    "",
    "",
    more=("< invoke name=", "<rivoke name=", f"<{_ANT}invoke name="),
    closes=("</rivoke>", "</ invoke>", f"</{_ANT}invoke>"),
)
MINIMAX_M2 = Dialect(
    "minimax_m2",
    "MiniMax M2.x",
    ("<minimax:tool_call>",),
    ("</minimax:tool_call>",),
    read_invokes,
    lambda tool, arguments: (
        f"<minimax:tool_call>\n{BARE_INVOKE.write(tool, arguments)}\n</minimax:tool_call>"
    ),
)
DOTS = Dialect(
    "dots",
    "dots",
    ("<dots_function_call>",),
    ("</dots_function_call>",),
    read_invokes,
    lambda tool, arguments: (
        f"<dots_function_call>{BARE_INVOKE.write(tool, arguments)}</dots_function_call>"
    ),
)
ATEM = _invokes("atem", "Muse Glimmer", "atem:", "function_calls")
_DSML = "｜DSML｜"
_LEAKED = ("｜｜DSML｜｜", "‖DSML‖", "|DSML|", " | DSML | ", _DSML, f"{_DSML} ")
_NAMES = [f"{mark}{name}>" for mark in _LEAKED for name in ("tool_calls", "tool_use", "calls")]
DSML = _invokes("dsml", "DeepSeek V3.2", _DSML, "function_calls", typed=True)
DSML_V4 = _invokes(
    "dsml_v4",
    "DeepSeek V4, V4.1",
    _DSML,
    "tool_calls",
    typed=True,
    more=("<calls>", *(f"<{name}" for name in _NAMES)),
    closes=("</calls>", *(f"</{name}" for name in _NAMES)),
)


def _write_xai(tool: str, arguments: dict[str, Any]) -> str:
    values = [f'<parameter name="{k}">{shown(v)}</parameter>' for k, v in arguments.items()]
    return f'<xai:function_call name="{tool}">{"".join(values)}</xai:function_call>'


XAI = Dialect(
    "xai",
    "Grok",
    ("<xai:function_call name=",),
    ("</xai:function_call>",),
    read_invokes,
    _write_xai,
)


def _write_step3(tool: str, arguments: dict[str, Any]) -> str:
    values = [
        f'<steptml:parameter name="{k}">{shown(v)}</steptml:parameter>'
        for k, v in arguments.items()
    ]
    return (
        "<｜tool_calls_begin｜><｜tool_call_begin｜>function<｜tool_sep｜>"
        f'<steptml:invoke name="{tool}">{"".join(values)}</steptml:invoke>'
        "<｜tool_call_end｜><｜tool_calls_end｜>"
    )


STEP3 = Dialect(
    "step3",
    "Step-3",
    ("<｜tool_calls_begin｜>", "<｜tool_call_begin｜>", "<steptml:invoke name="),
    ("<｜tool_calls_end｜>", "</steptml:invoke>"),
    read_invokes,
    _write_step3,
)

QWEN3_CODER = _functions(
    "qwen3_coder", "Qwen3-Coder, Qwen 3.5, MiMo, Step-3.5, Nemotron 3", "tool_call"
)
FUNCTION_XML = _functions("function_xml", "OpenHands' prompts, leaks of Qwen3-Coder", "")
SEED_OSS = _functions("seed_oss", "Seed-OSS", "seed:tool_call")
FUNCTION_JSON = Dialect(
    "function_json",
    "Llama 3.x with custom calls, Functionary 3.1",
    ("<function=",),
    ("</function>",),
    read_functions,
    lambda tool, arguments: f"<function={tool}>{dumps(arguments)}</function>",
)


def _write_minicpm(tool: str, arguments: dict[str, Any]) -> str:
    values = [f'<param name="{k}"><![CDATA[{shown(v)}]]></param>' for k, v in arguments.items()]
    return f'<function name="{tool}">{"".join(values)}</function>'


MINICPM5 = Dialect(
    "minicpm5",
    "MiniCPM 4/5",
    ("<function name=",),
    ("</function>",),
    read_functions,
    _write_minicpm,
)

_NS = "]<]minimax[>["


def _read_m3(text: str, last: bool) -> Reading:
    """MiniMax M3: every tag has the same mark before it, each parameter is a tag of its own."""
    calls: list[Call] = []
    mark = re.escape(_NS) + r"\s*"
    invokes = list(re.finditer(rf'{mark}<invoke name="([^"]+)">(.*?){mark}</invoke>', text, re.S))
    for invoke in invokes:
        made: dict[str, Any] = {}
        body = invoke[2]
        at = 0
        for tag in re.finditer(rf"{mark}<([^\s/>]+)>(.*?){mark}</\1>", body, re.S):
            if body[at : tag.start()].strip() or tag[1] in made:
                return None
            made[tag[1]] = inner(tag[2])
            at = tag.end()
        if body[at:].strip():
            return None
        calls.append((invoke[1], made))
    if not calls and not last:
        return MORE
    return calls or None


def _write_m3(tool: str, arguments: dict[str, Any]) -> str:
    values = [f"{_NS}<{k}>{shown(v)}{_NS}</{k}>" for k, v in arguments.items()]
    return (
        f'{_NS}<tool_call>{_NS}<invoke name="{tool}">{"".join(values)}'
        f"{_NS}</invoke>{_NS}</tool_call>"
    )


MINIMAX_M3 = Dialect(
    "minimax_m3",
    "MiniMax M3",
    (f"{_NS}<tool_call>",),
    (f"{_NS}</tool_call>",),
    _read_m3,
    _write_m3,
)
