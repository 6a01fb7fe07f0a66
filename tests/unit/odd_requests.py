"""Requests of each protocol with something odd in them: whole samples, and what may become of them."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

from shim.wire.reasoning import pack

PDF = "data:application/pdf;base64,JVBERi0xLjQK"
IMAGE = "data:image/png;base64,iVBORw0KGgo="
_SCHEMA = {"type": "object", "properties": {"cmd": {"type": "string", "default": 1.5}}}


def _responses() -> dict[str, Any]:
    parts = [
        {"type": "input_text", "text": "see <cwd>/work/shop</cwd>"},
        {"type": "input_image", "image_url": IMAGE, "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "new_part", "x": {"y": ["z", 1]}},
    ]
    annotation = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 1}
    answer = {"type": "output_text", "text": "ok", "annotations": [annotation], "logprobs": []}
    sealed = pack("up", {"reasoning_content": "hm", "blocks": [{"type": "thinking"}], "n": 1})
    calls = {
        "function_call": {"name": "run", "arguments": '{"cmd": "ls"}', "namespace": "mcp__lab"},
        "custom_tool_call": {"name": "patch", "input": "*** Begin Patch"},
        "local_shell_call": {"action": {"type": "exec", "command": ["ls"], "env": {"A": "b"}}},
        "apply_patch_call": {"operation": {"type": "create_file", "path": "a", "diff": "+a"}},
        "computer_call": {"action": {"type": "click", "x": 1}, "pending_safety_checks": []},
        "tool_search_call": {"arguments": {"q": "x"}, "execution": "client"},
    }
    outputs: dict[str, dict[str, Any]] = {
        "function_call_output": {"output": [{"type": "input_text", "text": "a.py"}, *parts[1:3]]},
        "custom_tool_call_output": {"output": "Done\nDone\nDone"},
        "local_shell_call_output": {"output": {"stdout": "x"}},
        "apply_patch_call_output": {"status": "completed"},
        "computer_call_output": {"output": {"type": "computer_screenshot", "image_url": IMAGE}},
        "tool_search_output": {"tools": [{"type": "function", "name": "late"}]},
    }
    items: list[Any] = [
        {
            "type": "additional_tools",
            "role": "developer",
            "tools": [{"type": "function", "name": "more", "description": "More.", "parameters": {}}],
        },
        {"type": "message", "role": "developer", "content": [parts[0]]},
        {"type": "message", "role": "user", "content": parts},
        {"role": "user", "content": "plain"},
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "content": [{"type": "reasoning_text", "text": "hm"}],
            "encrypted_content": sealed,
        },
        {"type": "message", "role": "assistant", "content": [answer], "status": "completed"},
        {"type": "agent_message", "author": "/root", "content": [parts[0], {"type": "encrypted_content", "encrypted_content": "say pong to me"}]},
        {"type": "configuration_update", "reasoning": {"effort": "high"}},
        {"type": "web_search_call", "action": {"type": "search", "query": "q"}, "status": "completed"},
        {"type": "compaction", "encrypted_content": pack("interpose", {"summary": "so far"})},
        {"type": "brand_new", "name": "n", "status": "s", "call_id": "c", "x": {"deep": [{"er": 1}]}},
    ]
    for n, ((call, given), (output, got)) in enumerate(zip(calls.items(), outputs.items(), strict=True)):
        items += [{"type": call, "call_id": f"c{n}", **given}, {"type": output, "call_id": f"c{n}", **got}]
    items.append({"type": "compaction_trigger"})
    return {
        "input": items,
        "instructions": "Be brief.",
        "previous_response_id": "resp_1",
        "text": {"format": {"type": "json_schema", "name": "n", "schema": _SCHEMA}, "verbosity": "low"},
        "reasoning": {"effort": "high", "summary": "auto"},
        "max_output_tokens": 4096,
        "metadata": {"user_id": "u"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "truncation": "auto",
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "run"}]},
        "tools": [
            {"type": "function", "name": "run", "description": "Runs.", "parameters": _SCHEMA, "strict": False},
            {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
            {"type": "namespace", "name": "mcp__lab", "tools": [{"type": "function", "name": "run", "parameters": {}}]},
            {"type": "local_shell"},
            {"type": "web_search"},
        ],
    }


def _chat() -> dict[str, Any]:
    parts: list[Any] = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "https://a.example/v"}},
        {"type": "local_image", "path": "/tmp/a.png"},
    ]
    detail = {"type": "reasoning.encrypted", "format": "interpose", "data": pack("up", {"reasoning_content": "hm"})}
    call = {"id": "c1", "type": "function", "function": {"name": "run", "arguments": '{"cmd": "ls"}'}}
    patch = {"id": "c2", "type": "custom", "custom": {"name": "patch", "input": "*** Begin Patch"}}
    return {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [parts[0]]},
            {"role": "user", "content": parts, "name": "kim"},
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "hm",
                "reasoning_details": [detail],
                "tool_calls": [call, patch],
                "audio": {"id": "a1"},
            },
            {"role": "tool", "tool_call_id": "c1", "content": [parts[0], parts[2]]},
            {"role": "tool", "tool_call_id": "c2", "content": "Done"},
            {"role": "assistant", "content": "x", "refusal": "no", "function_call": {"name": "run", "arguments": "{"}},
            {"role": "function", "name": "run", "content": "old"},
            {"role": "wizard", "content": "hi", "x": [1]},
        ],
        "max_tokens": 99,
        "temperature": 0.5,
        "stop": ["END"],
        "n": 1,
        "reasoning_effort": "low",
        "prediction": {"type": "content", "content": "guess"},
        "stream_options": {"include_usage": True},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": _SCHEMA}},
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "run"}}]}},
        "tools": [
            {"type": "function", "function": {"name": "run", "description": "Runs.", "parameters": _SCHEMA}},
            {"type": "custom", "custom": {"name": "patch", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: x"}}}},
        ],
    }


def _messages() -> dict[str, Any]:
    text = {"type": "text", "text": "see", "cache_control": {"type": "ephemeral"}}
    search = {
        "type": "search_result",
        "source": "https://docs.example/a",
        "title": "A",
        "content": [{"type": "text", "text": "forty-two"}],
        "citations": {"enabled": True},
    }
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"}
    blocks: list[Any] = [
        text,
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "image", "source": {"type": "url", "url": "https://a.example/i.png"}},
        {"type": "document", "source": pdf, "title": "t", "context": "c"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
        {"type": "document", "source": {"type": "content", "content": [text]}},
        search,
        {"type": "container_upload", "file_id": "f1"},
    ]
    result = {"type": "web_search_result", "url": "https://a.example", "title": "A", "encrypted_content": "Eq=="}
    return {
        "max_tokens": 4096,
        "system": [text],
        "messages": [
            {"role": "user", "content": blocks},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": pack("up", {"blocks": [{"type": "thinking"}]})},
                    {"type": "redacted_thinking", "data": "Eq=="},
                    {"type": "text", "text": "ok", "citations": [{"type": "page_location", "cited_text": "c", "document_title": None}]},
                    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
                    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [result]},
                    {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [text, search], "is_error": False}, text]},
            {"role": "system", "content": "later"},
            {"role": "user", "content": "go"},
        ],
        "stop_sequences": ["END"],
        "thinking": {"type": "enabled", "budget_tokens": 2048},
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": _SCHEMA}},
        "tool_choice": {"type": "tool", "name": "Bash", "disable_parallel_tool_use": True},
        "metadata": {"user_id": "u"},
        "context_management": {"edits": []},
        "tools": [
            {"name": "Bash", "description": "Runs.", "input_schema": _SCHEMA},
            {"type": "web_search_20250305", "name": "web_search"},
            {"type": "bash_20250124", "name": "bash"},
            {"name": "Late", "input_schema": {}, "defer_loading": True},
        ],
    }


SAMPLES = {
    name: {"model": "m", "stream": True, **build()}
    for name, build in (("responses", _responses), ("chat", _chat), ("messages", _messages))
}

#: Stands in a value for JSON that no value makes; so many levels are hardly read any more.
_RAW = "@raw:{}@"
RAWS = (
    b"1e999",
    b"-1e999",
    b"9" * 30,
    b"9" * 5000,
    b"NaN",
    b'"\xff"',
    b'"a\\ud83d b"',
    b'"\\uDC00\xf4\x8f\xbf\xbf"',
    b'{"type":"text","text":"a","text":"b"}',
    b'{"type":"message","type":"reasoning"}',
    b'{"\\ud83d":"x"}',
    b"[" * 300 + b"]" * 300,
    b"[" * 20000 + b"]" * 20000,
    b'{"a":' * 700 + b"1" + b"}" * 700,
    b'"\\u0000\\u2028"',
    b"",
)
_ODD: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 1e300, 2**64, "", "x", " ", "{", "[]", "\u2028\x00", "é" * 9),
    *([], {}, [None], [[]], [{}], ["x"], {"a": None}, {"type": "x"}, {"type": None}, {"": ""}),
    *({"text": "x"}, [{"type": "text"}], [{"type": "text", "text": 1}], {"type": ["x"]}),
    *(pack("up", {"content": 1, "blocks": 2, "item": 3}), "interpose.!!", "data:,", "a" * 3000),
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    places = [path] if path else []
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        places += _places(inner, (*path, step))
    return places


PLACES = {name: _places(sample) for name, sample in SAMPLES.items()}


@st.composite
def odd_bodies(draw: st.DrawFn, protocol: str) -> bytes:
    """A request of ``protocol`` in which up to three things are not what they should be."""
    request = copy.deepcopy(SAMPLES[protocol])
    for _ in range(draw(st.integers(1, 3))):
        _spoil(draw, request, draw(st.sampled_from(PLACES[protocol])))
    return written(request)


def _spoil(draw: st.DrawFn, value: Any, path: tuple[Any, ...]) -> None:
    for step in path[:-1]:
        if not isinstance(value, dict | list) or (isinstance(value, dict) and step not in value):
            return
        if isinstance(value, list) and (not isinstance(step, int) or step >= len(value)):
            return
        value = value[step]
    last = path[-1]
    there = last in value if isinstance(value, dict) else (
        isinstance(value, list) and isinstance(last, int) and last < len(value)
    )
    if not there:
        return
    old = value[last]
    how = draw(st.integers(0, 5))
    if how == 0:
        del value[last]
    elif how == 1:
        value[last] = [old]
    elif how == 2:
        value[last] = list(old.values()) if isinstance(old, dict) else {"x": old}
    elif how == 3 and isinstance(value, dict):
        value[draw(st.sampled_from(["x", "é", "", "type", "content"]))] = old
    elif how == 4:
        value[last] = _RAW.format(draw(st.integers(0, len(RAWS) - 1)))
    else:
        value[last] = copy.deepcopy(draw(st.sampled_from(_ODD)))


def written(value: Any) -> bytes:
    """``value`` as JSON, with what no value makes in its places."""
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    for number, raw in enumerate(RAWS):
        body = body.replace(f'"{_RAW.format(number)}"'.encode(), raw)
    return body
