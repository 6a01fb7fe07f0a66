"""Calls between the special tokens of one family: DeepSeek, Kimi K2, Harmony, Mistral, Functionary,
Inkling."""

from __future__ import annotations

import re

from ..arguments import open_string
from .base import MORE, Call, Dialect, Reading, dumps
from .jsons import arguments_of, body_calls, call_of

_DS_CALL = re.compile(
    r"<｜tool▁call▁begin｜>\s*(?:function\s*<｜tool▁sep｜>)?\s*(?P<name>[^\s<｜]+)\s*"
    r"(?:<｜tool▁sep｜>)?\s*(?:```(?:json)?\s*)?(?P<body>.*?)\s*(?:```)?\s*"
    r"(?:<｜tool▁call▁end｜>|$)",
    re.S,
)
_DS_OPEN = ("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>")
_DS_CLOSE = ("<｜tool▁calls▁end｜>", "<｜tool▁call▁end｜>")


def _matches(pattern: re.Pattern[str], text: str, last: bool, wrapper: re.Pattern[str]) -> Reading:
    """The calls that ``pattern`` finds one after the other, nothing but ``wrapper`` between."""
    calls: list[Call] = []
    at = 0
    for match in pattern.finditer(text):
        if wrapper.sub("", text[at : match.start()]).strip():
            return None
        arguments = arguments_of(match["body"], match.end() > match.end("body"))
        if arguments is None:
            return MORE if not last and open_string(match["body"]) else None
        calls.append((match["name"], arguments))
        at = match.end()
    if not calls or wrapper.sub("", text[at:]).strip():
        return None
    return calls


_DS_WRAP = re.compile("|".join((*_DS_OPEN, *_DS_CLOSE)))


def _read_deepseek(text: str, last: bool) -> Reading:
    return _matches(_DS_CALL, text, last, _DS_WRAP)


DEEPSEEK_V3 = Dialect(
    "deepseek_v3",
    "DeepSeek V3, R1",
    _DS_OPEN,
    _DS_CLOSE,
    _read_deepseek,
    lambda tool, arguments: (
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>{tool}\n"
        f"```json\n{dumps(arguments)}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
)
DEEPSEEK_V31 = Dialect(
    "deepseek_v31",
    "DeepSeek V3.1",
    _DS_OPEN,
    _DS_CLOSE,
    _read_deepseek,
    lambda tool, arguments: (
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>{tool}<｜tool▁sep｜>{dumps(arguments)}"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
)

_K2_CALL = re.compile(
    r"<\|tool_call_begin\|>\s*(?P<name>[^\s<|]+?)(?::\d+)?\s*<\|tool_call_argument_begin\|>"
    r"(?P<body>.*?)(?:<\|tool_call_end\|>|$)",
    re.S,
)
_K2_OPEN = ("<|tool_calls_section_begin|>", "<|tool_call_begin|>")
_K2_CLOSE = ("<|tool_calls_section_end|>", "<|tool_call_end|>")
_K2_WRAP = re.compile("|".join(map(re.escape, (*_K2_OPEN, *_K2_CLOSE))))
KIMI_K2 = Dialect(
    "kimi_k2",
    "Kimi K2",
    _K2_OPEN,
    _K2_CLOSE,
    lambda text, last: _matches(_K2_CALL, text, last, _K2_WRAP),
    lambda tool, arguments: (
        f"<|tool_calls_section_begin|><|tool_call_begin|>functions.{tool}:0"
        f"<|tool_call_argument_begin|>{dumps(arguments)}<|tool_call_end|>"
        "<|tool_calls_section_end|>"
    ),
)

_HARMONY = re.compile(
    r"(?:<\|start\|>assistant)?(?:\s*to=(?P<first>[\w.\-/:]+))?\s*<\|channel\|>\s*"
    r"(?:commentary|analysis|final)(?:\s+to=(?P<name>[\w.\-/:]+))?\s*"
    r"(?:<\|constrain\|>\s*\w+|json|code)?\s*"
    r"<\|message\|>(?P<body>.*?)(?:<\|call\|>|<\|end\|>|<\|return\|>|$)",
    re.S,
)


def _read_harmony(text: str, last: bool) -> Reading:
    calls: list[Call] = []
    at = 0
    for match in _HARMONY.finditer(text):
        name = match["name"] or match["first"]
        if text[at : match.start()].strip() or not name:
            return None
        arguments = arguments_of(match["body"], match.end() > match.end("body"))
        if arguments is None:
            return MORE if not last and open_string(match["body"]) else None
        calls.append((name, arguments))
        at = match.end()
    return calls if calls and not text[at:].strip() else None


HARMONY = Dialect(
    "harmony",
    "gpt-oss",
    (
        "<|channel|>commentary to=",
        "<|channel|>analysis to=",
        "<|start|>assistant<|channel|>commentary to=",
        "<|start|>assistant<|channel|>analysis to=",
        "<|start|>assistant to=",
    ),
    ("<|call|>",),
    _read_harmony,
    lambda tool, arguments: (
        f"<|channel|>commentary to=functions.{tool} <|constrain|>json<|message|>"
        f"{dumps(arguments)}<|call|>"
    ),
)
_STRIPPED = re.compile(
    r"\s*(?:assistant\s*)?(?:commentary|analysis)?\s*to=(?:functions\.)?(?P<name>[\w.\-/:]+)"
    r"\s*(?:code|json)*\s*(?P<body>\{.*?\})\s*(?=(?:assistant\s*)?(?:commentary|analysis|to=)|$)",
    re.S,
)


def _read_stripped(text: str, last: bool) -> Reading:
    return _matches(_STRIPPED, text, last, re.compile(r"\Z"))


HARMONY_STRIPPED = Dialect(
    "harmony_stripped",
    "gpt-oss and GPT-5, leaked without tokens",
    ("commentary to=", "to=functions.", "assistantcommentary to=", "analysis to="),
    (),
    _read_stripped,
    lambda tool, arguments: f"commentary to=functions.{tool} json{dumps(arguments)}",
    "ended",
)

_MISTRAL = re.compile(
    r"\[TOOL_CALLS\]\s*(?P<name>[\w.\-/:]+)\s*(?:\[CALL_ID\]\s*[\w-]+\s*)?(?:\[ARGS\])?\s*"
    r"(?P<body>\{.*?\})\s*(?=\[TOOL_CALLS\]|(?:</s>)?\s*$)",
    re.S,
)
MISTRAL_V11 = Dialect(
    "mistral_v11",
    "Small 3.x, Devstral, Ministral 3 (tokenizer v11 and later)",
    ("[TOOL_CALLS]",),
    (),
    lambda text, last: _matches(_MISTRAL, text, last, re.compile("</s>")),
    lambda tool, arguments: f"[TOOL_CALLS]{tool}[ARGS]{dumps(arguments)}",
    "ended",
)

_FUNCTIONARY = re.compile(
    r">>>\s*(?P<name>[\w.\-/:]+)[ \t]*\n\s*(?P<body>\{.*?\})\s*(?=>>>|$)", re.S
)
FUNCTIONARY = Dialect(
    "functionary",
    "Functionary 3.2",
    (">>>",),
    (),
    lambda text, last: _matches(_FUNCTIONARY, text, last, re.compile(r"\Z")),
    lambda tool, arguments: f">>>{tool}\n{dumps(arguments)}",
    "ended",
    lambda text: bool(re.match(r">>>[ \t]*[\w.\-/:]*[ \t]*(?:$|\n\s*(?:$|\{))", text)),
)

_INKLING = re.compile(
    r"(?:<\|message_model\|>)?\s*[\w.\-/:]*\s*<\|content_invoke_tool_json\|>(.*?)"
    r"(?:<\|end_message\|>|<\|content_model_end_sampling\|>|$)",
    re.S,
)


def _read_inkling(text: str, last: bool) -> Reading:
    calls: list[Call] = []
    at = 0
    for match in _INKLING.finditer(text):
        if text[at : match.start()].strip():
            return None
        got = body_calls(match[1], match.end() > match.end(1), last, call_of)
        if not isinstance(got, list):
            return got
        calls += got
        at = match.end()
    return calls if calls and not text[at:].strip() else None


INKLING = Dialect(
    "inkling",
    "Inkling",
    ("<|message_model|>", "<|content_invoke_tool_json|>"),
    ("<|end_message|>",),
    _read_inkling,
    lambda tool, arguments: (
        f"<|message_model|>{tool}<|content_invoke_tool_json|>"
        f'{{"name": {dumps(tool)}, "args": {dumps(arguments)}}}<|end_message|>'
    ),
)
