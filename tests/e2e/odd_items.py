"""Requests that hold the forbidden phrase, or a key, at one of all the places where words may be.

A sample has `@@` wherever somebody's words may stand; a request has them at one of these places.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from tests.e2e.odd_bodies import PATHS, PHRASE, SECRET, Odd, dumped

_PNG = "data:image/png;base64,iVBORw0KGgo="
_SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "description": "@@"}}}
_FUNCTION = {"type": "function", "name": "run", "description": "@@", "parameters": _SCHEMA}


def _responses() -> dict[str, Any]:
    parts = [
        {"type": "input_text", "text": "@@"},
        {"type": "input_image", "image_url": "https://img.example/?q=@@"},
        {"type": "input_file", "filename": "@@", "file_url": "https://f.example/?q=@@"},
        {"type": "novel_part", "text": "@@", "value": "@@", "deep": {"a": ["@@", {"b": "@@"}]}},
    ]
    cited = {"type": "url_citation", "url": "https://a.example/@@", "title": "@@"}
    answer = {"type": "output_text", "text": "@@", "annotations": [cited]}
    return {
        "instructions": "@@",
        "input": [
            {"type": "message", "role": "developer", "content": "@@"},
            {"type": "message", "role": "user", "content": parts},
            {"role": "user", "content": "@@"},
            {"type": "message", "role": "assistant", "content": [answer, {"type": "refusal", "refusal": "@@"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "@@"}], "content": [{"type": "reasoning_text", "text": "@@"}]},
            {"type": "function_call", "call_id": "c1", "name": "run", "arguments": '{"a":"@@"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "@@"},
            {"type": "function_call", "call_id": "c2", "name": "run", "arguments": '{"a": @@ broken'},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "@@"}, {"type": "novel", "say": "@@"}]},
            {"type": "custom_tool_call", "call_id": "c3", "name": "patch", "input": "@@"},
            {"type": "custom_tool_call_output", "call_id": "c3", "output": "@@"},
            {"type": "local_shell_call", "call_id": "c4", "action": {"type": "exec", "command": ["echo", "@@"], "env": {"A": "@@"}}},
            {"type": "local_shell_call_output", "call_id": "c4", "output": "@@"},
            {"type": "apply_patch_call", "call_id": "c5", "operation": {"type": "create_file", "path": "@@", "diff": "@@"}},
            {"type": "apply_patch_call_output", "call_id": "c5", "status": "completed", "output": "@@"},
            {"type": "web_search_call", "action": {"type": "search", "query": "@@"}},
            {"type": "file_search_call", "queries": ["@@"], "results": [{"filename": "@@", "text": "@@"}]},
            {"type": "code_interpreter_call", "code": "@@", "outputs": [{"type": "logs", "logs": "@@"}]},
            {"type": "mcp_call", "name": "m", "server_label": "s", "arguments": '{"a":"@@"}', "output": "@@", "error": "@@"},
            {"type": "mcp_list_tools", "server_label": "s", "tools": [{"name": "t", "description": "@@", "input_schema": {}}]},
            {"type": "agent_message", "author": "@@", "content": [{"type": "input_text", "text": "@@"}]},
            {"type": "novel_item", "text": "@@", "name": "@@", "content": "@@", "deep": [{"a": {"b": ["@@"]}}]},
            {"type": "additional_tools", "role": "developer", "tools": [_FUNCTION]},
        ],
        "tools": [
            _FUNCTION,
            {"type": "custom", "name": "patch", "description": "@@", "format": {"type": "grammar", "syntax": "lark", "definition": "@@"}},
            {"type": "namespace", "name": "lab", "description": "@@", "tools": [_FUNCTION]},
        ],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": _SCHEMA}},
        "metadata": {"topic": "@@"},
        "prompt": {"id": "p", "variables": {"a": "@@"}},
        "user": "@@",
        "novel_setting": {"a": ["@@"]},
    }  # fmt: skip


def _chat() -> dict[str, Any]:
    parts = [
        {"type": "text", "text": "@@"},
        {"type": "image_url", "image_url": {"url": "https://img.example/?q=@@"}},
        {"type": "file", "file": {"filename": "@@", "file_data": "data:text/plain;base64,eA=="}},
        {"type": "novel_part", "text": "@@", "value": "@@", "deep": {"a": ["@@", {"b": "@@"}]}},
    ]
    call = {"id": "c1", "type": "function", "function": {"name": "run", "arguments": '{"a":"@@"}'}}
    patch = {"id": "c2", "type": "custom", "custom": {"name": "patch", "input": "@@"}}
    return {
        "messages": [
            {"role": "system", "content": "@@"},
            {"role": "developer", "content": [{"type": "text", "text": "@@"}]},
            {"role": "user", "content": parts, "name": "@@"},
            {"role": "user", "content": "@@", "novel": {"a": "@@"}},
            {"role": "assistant", "content": "@@", "reasoning_content": "@@", "refusal": "@@", "tool_calls": [call, patch]},
            {"role": "tool", "tool_call_id": "c1", "content": "@@"},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "@@"}]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "@@"}], "function_call": {"name": "run", "arguments": '{"a":"@@"}'}},
            {"role": "function", "name": "run", "content": "@@"},
            {"role": "assistant", "content": None, "annotations": [{"type": "url_citation", "url_citation": {"title": "@@", "url": "https://a.example/@@"}}]},
        ],
        "tools": [
            {"type": "function", "function": {"name": "run", "description": "@@", "parameters": _SCHEMA}},
            {"type": "custom", "custom": {"name": "patch", "description": "@@"}},
        ],
        "functions": [{"name": "run", "description": "@@", "parameters": _SCHEMA}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "description": "@@", "schema": _SCHEMA}},
        "prediction": {"type": "content", "content": "@@"},
        "web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": "@@"}}},
        "stop": ["@@"],
        "metadata": {"topic": "@@"},
        "user": "@@",
        "novel_setting": {"a": ["@@"]},
    }  # fmt: skip


def _messages() -> dict[str, Any]:
    source = {"type": "text", "media_type": "text/plain", "data": "@@"}
    document = {"type": "document", "title": "@@", "context": "@@", "source": source}
    found = {
        "type": "search_result",
        "source": "@@",
        "title": "@@",
        "content": [{"type": "text", "text": "@@"}],
    }
    blocks = {"type": "content", "content": [{"type": "text", "text": "@@"}]}
    cited = {
        "type": "char_location",
        "cited_text": "@@",
        "document_title": "@@",
        "document_index": 0,
    }
    return {
        "system": [{"type": "text", "text": "@@"}],
        "messages": [
            {"role": "user", "content": "@@"},
            {"role": "user", "content": [
                {"type": "text", "text": "@@"},
                {"type": "image", "source": {"type": "url", "url": "https://img.example/?q=@@"}},
                document,
                {"type": "document", "source": blocks},
                {"type": "document", "source": {"type": "url", "url": "https://d.example/?q=@@"}},
                found,
                {"type": "novel_block", "text": "@@", "value": "@@", "deep": {"a": ["@@", {"b": "@@"}]}},
            ]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "@@", "citations": [cited]},
                {"type": "tool_use", "id": "t1", "name": "run", "input": {"a": "@@", "b": {"@@": 1}}},
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "@@"}},
                {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"type": "web_search_result", "title": "@@", "url": "https://a.example/@@", "page_age": "@@"}]},
                {"type": "mcp_tool_use", "id": "m1", "name": "m", "server_name": "s", "input": {"a": "@@"}},
                {"type": "mcp_tool_result", "tool_use_id": "m1", "content": [{"type": "text", "text": "@@"}]},
                {"type": "code_execution_tool_result", "tool_use_id": "s1", "content": {"type": "code_execution_result", "stdout": "@@", "stderr": "@@"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "@@"}, found, document]},
                {"type": "tool_result", "tool_use_id": "t1", "content": "@@"},
            ]},
        ],
        "tools": [
            {"name": "run", "description": "@@", "input_schema": _SCHEMA},
            {"name": "web", "type": "web_search_20250305", "user_location": {"type": "approximate", "city": "@@"}},
        ],
        "stop_sequences": ["@@"],
        "metadata": {"user_id": "@@"},
        "novel_setting": {"a": ["@@"]},
        "max_tokens": 64,
    }  # fmt: skip


_SAMPLES = {"responses": _responses(), "chat": _chat(), "messages": _messages()}
_PLANTED = {"phrase": f"about {PHRASE} again", "key": f"it is {SECRET} now"}


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where `@@` stands in ``value``; of a field's name with a None behind it."""
    if isinstance(value, str):
        if "@@" in value:
            yield path
        return
    if not isinstance(value, dict | list):
        return
    for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if step == "@@":
            yield (*path, step, None)
        yield from _places(inner, (*path, step))


def _cleared(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("@@", "x")
    if isinstance(value, dict):
        return {_cleared(k): _cleared(v) for k, v in value.items()}
    return [_cleared(v) for v in value] if isinstance(value, list) else value


def planted(protocol: str, path: tuple[Any, ...], text: str) -> dict[str, Any]:
    """The sample with ``text`` at one place."""
    request = _cleared(_SAMPLES[protocol])
    sample: Any = _SAMPLES[protocol]
    box: Any = request
    steps = path[:-2] if path[-1] is None else path[:-1]
    for step in steps:
        box, sample = box[step], sample[step]
    if path[-1] is None:
        box[text] = box.pop("x")
    else:
        box[path[-1]] = sample[path[-1]].replace("@@", text)
    return copy.deepcopy(request)


def in_all_places() -> Iterator[Odd]:
    """A request per place, with the phrase and with the key."""
    for protocol in PATHS:
        for path in _places(_SAMPLES[protocol]):
            for what, text in _PLANTED.items():
                name = ".".join("name" if step is None else str(step) for step in path)

                def body(
                    model: str,
                    protocol: str = protocol,
                    path: tuple[Any, ...] = path,
                    text: str = text,
                ) -> bytes:
                    return dumped({**planted(protocol, path, text), "model": model})

                yield Odd(f"{what} at {name}", protocol, body)


def escaped() -> Iterator[Odd]:
    """The phrase and the key as JSON may write them, in a plain text."""
    for protocol in PATHS:
        for what, text in (("phrase", PHRASE), ("key", SECRET)):
            forms = {
                "escapes": "".join(f"\\u{ord(c):04x}" for c in text),
                "in JSON": json.dumps(json.dumps({"a": text}))[1:-1],
                "behind a broken half": "\\ud800 " + text,
            }
            for name, form in forms.items():
                field = "input" if protocol == "responses" else "messages"
                sent = f'[{{"role":"user","content":"{form}"}}]'

                def body(model: str, field: str = field, sent: str = sent) -> bytes:
                    made = f'{{"model":"{model}","max_tokens":9,"{field}":{sent}}}'
                    return made.encode()

                yield Odd(f"{what} as {name}", protocol, body)
            yield from _twice(protocol, what, text)


def _twice(protocol: str, what: str, text: str) -> Iterator[Odd]:
    """A key that comes twice in an object: the reader takes the last, another may take the first."""
    field = "input" if protocol == "responses" else "messages"
    good, bad = (f'[{{"role":"user","content":"{said}"}}]' for said in ("x", text))
    for name, items in {
        "first conversation": f'"{field}":{bad},"{field}":{good}',
        "second conversation": f'"{field}":{good},"{field}":{bad}',
        "first content": f'"{field}":[{{"role":"user","content":"{text}","content":"x"}}]',
        "first part": f'"{field}":[{{"role":"user","content":[{{"type":"text","text":"{text}","text":"x"}}]}}]',
    }.items():  # fmt: skip

        def body(model: str, items: str = items) -> bytes:
            return f'{{"model":"{model}","max_tokens":9,{items}}}'.encode()

        yield Odd(f"{what} in the {name} of two", protocol, body)
