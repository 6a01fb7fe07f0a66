"""Calls as a name and pairs of key and value, each between tags: GLM's form and its relatives."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..arguments import mend
from .base import MORE, Call, Cut, Dialect, Reading, inner, shown
from .jsons import body_calls

#: A tag may carry a suffix such as ``:opensource``.
_SUFFIX = r"(?::[\w.-]+)?"


def _reader(
    begin: str,
    end: str,
    pair: str,
    *,
    hint: str,
    separator: str = "",
    group: str = "",
    json: bool = False,
) -> Callable[[str, bool], Reading]:
    """A reader for calls between ``begin`` and ``end``, patterns all; ``pair`` has the groups k, v
    and, where values say what they are, t. Where ``hint`` stands, a close may be a value's own.
    ``json``: the body may be JSON instead."""
    begins = re.compile(begin)
    ends = re.compile(end)
    pairs = re.compile(rf"\s*{pair}\s*", re.S)
    groups = re.compile(rf"^\s*(?:{group})|(?:{group})\s*$") if group else None
    name = re.compile(rf"\s*([^\s<>{{}}|\"']+)\s*(?:{separator})?", re.S)

    def one(body: str, last: bool) -> Reading:
        if json and body.strip().startswith(("{", "[")):
            return body_calls(body, True, last)
        named = name.match(body)
        if not named:
            return None
        at, made = named.end(), dict[str, Any]()
        while at < len(body):
            match = pairs.match(body, at)
            if not match:
                return None if body[at:].strip() else [(named[1], made)]
            key = match["k"].strip()
            if key in made:
                return None
            made[key] = _typed(inner(match["v"]), match.groupdict().get("t"))
            at = match.end()
        return [(named[1], made)]

    def read(text: str, last: bool) -> Reading:
        if groups:
            text = groups.sub("", text)
        calls: list[Call] = []
        opening = begins.match(text.lstrip())
        text = text.lstrip()
        while opening:
            rest = text[opening.end() :]
            got: Reading = None
            after = ""
            for close in ends.finditer(rest):
                got = one(rest[: close.start()], last)
                after = rest[close.end() :].lstrip()
                if isinstance(got, list):
                    break
            else:
                got = one(rest, last) if last else None
                if isinstance(got, list):
                    got = [(name, Cut(given)) for name, given in got]
                after = ""
            if not isinstance(got, list):
                return MORE if not last and hint in rest else got
            calls += got
            text = after
            opening = begins.match(text)
        return calls if calls and not text.strip() else None

    return read


def _typed(value: str, kind: str | None) -> Any:
    if kind is None or kind.strip() in ("string", "str"):
        return value
    told = mend(value)
    return told.value if told else value


def _writer(
    begin: str, end: str, key: str, value: str, *, head: str = "\n", typed: str = ""
) -> Callable[[str, dict[str, Any]], str]:
    def write(tool: str, arguments: dict[str, Any]) -> str:
        pairs = []
        for k, v in arguments.items():
            kind = typed.replace("T", _kind(v)) if typed else ""
            pairs.append(key.replace("K", k) + kind + value.replace("V", shown(v)))
        return begin.replace("F", tool) + head + "".join(pairs) + end

    return write


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "object"


_GLM_PAIR = (
    rf"<arg_key{_SUFFIX}>(?P<k>.*?)</arg_key{_SUFFIX}>\s*"
    rf"<arg_value{_SUFFIX}>(?P<v>.*?)</arg_value{_SUFFIX}>(?=\s*(?:<arg_key|</tool_call|$))"
)


def _glm(json: bool) -> Callable[[str, bool], Reading]:
    return _reader(
        rf"<tool_call{_SUFFIX}>",
        rf"</tool_call{_SUFFIX}>",
        _GLM_PAIR,
        hint="<arg_key",
        separator=rf"<tool_sep{_SUFFIX}>",
        group=rf"</?tool_calls{_SUFFIX}>",
        json=json,
    )


GLM45 = Dialect(
    "glm45",
    "GLM-4.5/4.6, Poolside Laguna, Spark 2.5",
    ("<tool_call>",),
    ("</tool_call>",),
    _glm(json=False),
    _writer(
        "<tool_call>F",
        "</tool_call>",
        "<arg_key>K</arg_key>\n",
        "<arg_value>V</arg_value>\n",
    ),
)
GLM47 = Dialect(
    "glm47",
    "GLM-4.7/5, Ling 3",
    ("<tool_call>",),
    ("</tool_call>",),
    _glm(json=False),
    _writer(
        "<tool_call>F",
        "</tool_call>",
        "<arg_key>K</arg_key>",
        "<arg_value>V</arg_value>",
        head="",
    ),
)
HUNYUAN3 = Dialect(
    "hunyuan3",
    "Hunyuan 3",
    ("<tool_calls>", "<tool_calls:opensource>", "<tool_call:opensource>"),
    ("</tool_calls>", "</tool_calls:opensource>", "</tool_call:opensource>"),
    _glm(json=True),
    _writer(
        "<tool_calls><tool_call>F<tool_sep>",
        "</tool_call></tool_calls>",
        "<arg_key>K</arg_key>",
        "<arg_value>V</arg_value>",
        head="",
    ),
)
LONGCAT_PAIRS = Dialect(
    "longcat_pairs",
    "LongCat, with pairs",
    ("<longcat_tool_call>",),
    ("</longcat_tool_call>",),
    _reader(
        "<longcat_tool_call>",
        "</longcat_tool_call>",
        r"<longcat_arg_key>(?P<k>.*?)</longcat_arg_key>\s*"
        r"<longcat_arg_value>(?P<v>.*?)</longcat_arg_value>(?=\s*(?:<longcat_arg_key|$))",
        hint="<longcat_arg_key",
    ),
    _writer(
        "<longcat_tool_call>F",
        "</longcat_tool_call>",
        "<longcat_arg_key>K</longcat_arg_key>\n",
        "<longcat_arg_value>V</longcat_arg_value>\n",
    ),
)
SOLAR = Dialect(
    "solar_open2",
    "Solar Open 2",
    ("<|tool_call:start|>",),
    ("<|tool_call:end|>",),
    _reader(
        r"<\|tool_call:start\|>",
        r"<\|tool_call:end\|>",
        r"<\|tool_arg:start\|>(?P<k>.*?)<\|tool_arg:value\|>(?P<v>.*?)<\|tool_arg:end\|>",
        hint="<|tool_arg:start|>",
    ),
    _writer(
        "<|tool_call:start|>F",
        "<|tool_call:end|>",
        "<|tool_arg:start|>K",
        "<|tool_arg:value|>V<|tool_arg:end|>\n",
    ),
)
K2_HORIZON = Dialect(
    "k2_horizon",
    "K2 Horizon (K2-V3)",
    ("<ifm|tool_calls>", "<ifm|tool_call>"),
    ("</ifm|tool_calls>", "</ifm|tool_call>"),
    _reader(
        r"<ifm\|tool_call>",
        r"</ifm\|tool_call>",
        r"<ifm\|arg_key>(?P<k>.*?)</ifm\|arg_key>\s*"
        r"(?:<ifm\|arg_type>(?P<t>.*?)</ifm\|arg_type>\s*)?"
        r"<ifm\|arg_value>(?P<v>.*?)</ifm\|arg_value>(?=\s*(?:<ifm\|arg_key|$))",
        hint="<ifm|arg_key",
        json=True,
        group=r"</?ifm\|tool_calls>",
    ),
    _writer(
        "<ifm|tool_calls>\n<ifm|tool_call>F",
        "</ifm|tool_call>\n</ifm|tool_calls>",
        "<ifm|arg_key>K</ifm|arg_key>\n",
        "<ifm|arg_value>V</ifm|arg_value>\n",
    ),
)

_XTML = re.compile(
    r'<\|open\|>call\s+tool="(?P<name>[^"]+)"[^<]*?<\|sep\|>'
    r"(?P<body>.*?)<\|close\|>call<\|sep\|>",
    re.S,
)
_XTML_PAIR = re.compile(
    r'\s*<\|open\|>argument\s+key="(?P<k>[^"]+)"(?:\s+type="(?P<t>[^"]+)")?[^<]*?<\|sep\|>'
    r"(?P<v>.*?)<\|close\|>argument<\|sep\|>\s*",
    re.S,
)


def _read_k3(text: str, last: bool) -> Reading:
    calls: list[Call] = []
    for call in _XTML.finditer(text):
        made: dict[str, Any] = {}
        body, at = call["body"], 0
        while at < len(body.rstrip()):
            pair = _XTML_PAIR.match(body, at)
            if not pair or pair["k"] in made:
                return None if last else MORE
            made[pair["k"]] = _typed(pair["v"], pair["t"])
            at = pair.end()
        calls.append((call["name"], made))
    return calls or (None if last else MORE)


KIMI_K3 = Dialect(
    "kimi_k3",
    "Kimi K3",
    ("<|open|>tools<|sep|>", "<|open|>call "),
    ("<|close|>tools<|sep|>", "<|close|>call<|sep|>"),
    _read_k3,
    _writer(
        '<|open|>tools<|sep|><|open|>call tool="F" index="1"<|sep|>',
        "<|close|>call<|sep|><|close|>tools<|sep|>",
        '<|open|>argument key="K"',
        "<|sep|>V<|close|>argument<|sep|>",
        head="",
        typed=' type="T"',
    ),
)
