"""Parts of valid requests in each protocol, with every kind of block that clients send: what random
conversations are put together from."""

from __future__ import annotations

from typing import Any

from shim.wire.reasoning import pack

_PNG = "iVBORw0KGgo="
_IMAGE = f"data:image/png;base64,{_PNG}"
_PDF = "data:application/pdf;base64,JVBERi0xLjQK"
_SCHEMA = {
    "type": "object",
    "properties": {"cmd": {"type": "string", "description": "What to run.", "default": "ls"}},
    "required": ["cmd"],
}
_LOG = "".join(f"line {n} of a long log that a tool has printed\n" for n in range(16))
_ENV = "<env>\ncwd: /work\n</env>"
_STATE = pack("chat", {"reasoning_content": "a thought of the chat provider"})
_BLOCKS = pack("messages", {"blocks": [{"type": "thinking", "thinking": "x", "signature": "Eq=="}]})


def _text(text: str, kind: str = "input_text") -> dict[str, Any]:
    return {"type": kind, "text": text}


def _said(role: str, *content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(content)}


def _call(name: str, arguments: str, id: str = "c1", **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments, **more}


_CITATION = {"type": "url_citation", "url": "https://a.example", "title": "A page"}
RESPONSES_ITEMS: list[Any] = [
    _said("user", _text("Fix the typo in the README. #hard")),
    {"role": "user", "content": "plain words, please refactor"},
    _said("user", _text(_ENV), _text("and this"), _text(_ENV)),
    _said("developer", _text("Be careful <cwd>/work/shop</cwd>")),
    _said("user", _text("see"), {"type": "input_image", "image_url": _IMAGE, "detail": "auto"}),
    _said("user", {"type": "input_file", "filename": "a.pdf", "file_data": _PDF}),
    _said("user", {"type": "new_part", "x": {"y": ["z", 1]}, "note": "some words"}),
    _said("assistant", {**_text("ok, done", "output_text"), "annotations": [_CITATION]}),
    _said("assistant", {"type": "refusal", "refusal": "I would rather not"}),
    _call("exec_command", '{"cmd": "ls -la", "env": {"A": "b"}}'),
    {"type": "function_call_output", "call_id": "c1", "output": _LOG},
    {"type": "function_call_output", "call_id": "c1", "output": [_text("two"), _text(_LOG)]},
    _call("look_up", '{"q": "what"}', "c2", namespace="mcp__lab"),
    {"type": "function_call_output", "call_id": "c2", "output": "host-1234 said no"},
    _call("broken", '{"a": [1, {"b', "c3"),
    {"type": "custom_tool_call", "call_id": "c4", "name": "patch", "input": "*** Begin Patch\n+a"},
    {"type": "custom_tool_call_output", "call_id": "c4", "output": "Done"},
    {"type": "reasoning", "summary": [_text("hm", "summary_text")], "encrypted_content": _STATE},
    {"type": "reasoning", "summary": [], "content": [_text("so", "reasoning_text")]},
    {"type": "web_search_call", "action": {"type": "search", "query": "q"}, "status": "completed"},
    {"type": "local_shell_call", "call_id": "c5", "action": {"type": "exec", "command": ["ls"]}},
    {"type": "local_shell_call_output", "call_id": "c5", "output": "a.py"},
    {"type": "computer_call", "call_id": "c6", "action": {"type": "type", "text": "abc"}},
    {"type": "agent_message", "author": "/root", "content": [_text("from another agent")]},
    {"type": "additional_tools", "tools": [{"type": "function", "name": "more", "parameters": {}}]},
    {"type": "compaction", "encrypted_content": pack("interpose", {"summary": "so far, so good"})},
    {"type": "brand_new", "name": "n", "x": {"deep": [{"er": "words in there"}]}},
    {"type": "item_reference", "id": "msg_1"},
]
_FUNCTION = {"type": "function", "name": "look_up", "description": "Looks up.", "strict": False}
RESPONSES_TOOLS: list[Any] = [
    {"type": "function", "name": "exec_command", "description": "Runs.", "parameters": _SCHEMA},
    {"type": "function", "name": "forbidden_tool", "parameters": _SCHEMA},
    {"type": "custom", "name": "patch", "format": {"type": "grammar", "definition": "start: x"}},
    {"type": "namespace", "name": "mcp__lab", "tools": [{**_FUNCTION, "parameters": _SCHEMA}]},
    {"type": "web_search"},
    {"type": "local_shell"},
]
RESPONSES_SETTINGS: list[tuple[str, Any]] = [
    ("instructions", "You are a coding agent."),
    ("stream", False),
    ("store", False),
    ("max_output_tokens", 4096),
    ("reasoning", {"effort": "high", "summary": "auto"}),
    ("text", {"format": {"type": "json_schema", "name": "n", "schema": _SCHEMA}}),
    ("tool_choice", {"type": "function", "name": "exec_command"}),
    ("metadata", {"user_id": "somebody"}),
    ("include", ["reasoning.encrypted_content"]),
    ("prompt_cache_key", "k"),
    ("client_metadata", {"x": "y"}),
    ("user", "somebody"),
    ("codex_capabilities", {"codex_passthrough": True}),
    ("codex_capabilities", {"protocol": "openai-chat"}),
]

_USE = {"id": "c1", "type": "function"}
_IMAGE_PART = {"type": "image_url", "image_url": {"url": _IMAGE, "detail": "low"}}
CHAT_ITEMS: list[Any] = [
    {"role": "user", "content": "Fix the typo in the README. #hard"},
    {"role": "user", "content": [_text("see", "text"), _IMAGE_PART], "name": "kim"},
    {"role": "user", "content": f"{_ENV}\n{_ENV}"},
    {"role": "system", "content": "You are an agent. Working directory: /work/shop\n"},
    {"role": "developer", "content": [_text("Be brief.", "text")]},
    {"role": "user", "content": [{"type": "file", "file": {"filename": "a", "file_data": _PDF}}]},
    {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA"}}]},
    {"role": "user", "content": [{"type": "video_url", "note": "some words"}]},
    {"role": "assistant", "content": "ok, done", "refusal": None},
    {"role": "assistant", "content": None, "refusal": "I would rather not"},
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "a thought",
        "tool_calls": [
            {**_USE, "function": {"name": "exec_command", "arguments": '{"cmd": "ls"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": _LOG},
    {"role": "tool", "tool_call_id": "c1", "content": [_text("two", "text"), _text(_LOG, "text")]},
    {
        "role": "assistant",
        "content": "calling",
        "reasoning_details": [{"type": "reasoning.encrypted", "data": _STATE}],
        "tool_calls": [{"id": "c2", "type": "custom", "custom": {"name": "patch", "input": "+a"}}],
    },
    {"role": "tool", "tool_call_id": "c2", "content": "host-1234 said no"},
    {"role": "assistant", "content": "x", "function_call": {"name": "run", "arguments": "{"}},
    {"role": "function", "name": "run", "content": "old"},
    {"role": "wizard", "content": "hi", "x": ["words in there"]},
]
CHAT_TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "exec_command", "parameters": _SCHEMA}},
    {"type": "function", "function": {"name": "forbidden_tool", "description": "No."}},
    {"type": "function", "function": {"name": "look_up", "description": "Up.", "strict": True}},
    {"type": "custom", "custom": {"name": "patch", "description": "Patches."}},
]
CHAT_SETTINGS: list[tuple[str, Any]] = [
    ("stream", False),
    ("stream_options", {"include_usage": True}),
    ("max_tokens", 99),
    ("max_completion_tokens", 9999),
    ("temperature", 0.5),
    ("stop", ["END"]),
    ("n", 1),
    ("reasoning_effort", "low"),
    ("prediction", {"type": "content", "content": "a guess"}),
    ("response_format", {"type": "json_schema", "json_schema": {"name": "n", "schema": _SCHEMA}}),
    ("tool_choice", {"type": "function", "function": {"name": "exec_command"}}),
    ("functions", [{"name": "run", "description": "Old.", "parameters": _SCHEMA}]),
    ("logit_bias", {"50256": -100}),
    ("user", "somebody"),
    ("metadata", {"a": "b"}),
    ("codex_capabilities", {"tool_text_format": "hermes", "prompt_mode": "codex_default"}),
]

_MARKED = {"type": "text", "text": "see", "cache_control": {"type": "ephemeral"}}
_SOURCE = {"type": "base64", "media_type": "image/png", "data": _PNG}
_SEARCH = {
    "type": "search_result",
    "source": "https://docs.example/a",
    "title": "A title",
    "content": [_text("forty-two", "text")],
}


def _user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def _assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


MESSAGES_ITEMS: list[Any] = [
    {"role": "user", "content": "Fix the typo in the README. #hard"},
    _user(_MARKED, _text(_ENV, "text"), _text(_ENV, "text")),
    _user({"type": "image", "source": _SOURCE}, {"type": "image", "source": {"type": "url"}}),
    _user({"type": "document", "source": {"type": "text", "data": "words"}, "title": "t"}),
    _user({"type": "document", "source": {"type": "content", "content": [_MARKED]}}),
    _user(_SEARCH, {"type": "container_upload", "file_id": "f1", "note": "some words"}),
    _assistant(_text("ok, done", "text")),
    _assistant(
        {"type": "thinking", "thinking": "hm", "signature": _BLOCKS},
        _text("calling", "text"),
        {"type": "tool_use", "id": "t1", "name": "exec_command", "input": {"cmd": "ls", "n": [1]}},
    ),
    _user({"type": "tool_result", "tool_use_id": "t1", "content": _LOG}, _MARKED),
    _user({"type": "tool_result", "tool_use_id": "t1", "content": [_MARKED, _SEARCH]}),
    _assistant({"type": "redacted_thinking", "data": "Eq=="}, _text("x", "text")),
    _assistant({"type": "tool_use", "id": "t2", "name": "look_up", "input": {}}),
    _user({"type": "tool_result", "tool_use_id": "t2", "is_error": True, "content": "host-1234"}),
    _assistant(
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"title": "A"}]},
    ),
    _assistant({**_text("cited", "text"), "citations": [{"cited_text": "c", "title": "d"}]}),
    {"role": "system", "content": "later instructions"},
    _user({"type": "brand_new", "x": {"deep": ["words in there"]}}),
]
MESSAGES_TOOLS: list[Any] = [
    {"name": "exec_command", "description": "Runs.", "input_schema": _SCHEMA},
    {"name": "forbidden_tool", "input_schema": _SCHEMA},
    {"name": "look_up", "input_schema": {}, "defer_loading": True},
    {"type": "web_search_20250305", "name": "web_search"},
    {"type": "bash_20250124", "name": "bash"},
]
MESSAGES_SETTINGS: list[tuple[str, Any]] = [
    ("stream", False),
    ("system", "You are an agent. Working directory: /work/shop\n"),
    ("system", [_MARKED, _text("more", "text")]),
    ("stop_sequences", ["END"]),
    ("thinking", {"type": "enabled", "budget_tokens": 2048}),
    ("output_config", {"format": {"type": "json_schema", "schema": _SCHEMA}}),
    ("tool_choice", {"type": "tool", "name": "exec_command"}),
    ("metadata", {"user_id": "somebody"}),
    ("mcp_servers", [{"type": "url", "url": "https://mcp.example", "name": "lab"}]),
    ("top_k", 5),
    ("container", "c_1"),
    ("codex_capabilities", {"include_environment_context": True}),
]

#: Per protocol: the field of the conversation, what may stand in it, the tools, the settings.
TEMPLATES: dict[str, tuple[str, list[Any], list[Any], list[tuple[str, Any]]]] = {
    "responses": ("input", RESPONSES_ITEMS, RESPONSES_TOOLS, RESPONSES_SETTINGS),
    "chat": ("messages", CHAT_ITEMS, CHAT_TOOLS, CHAT_SETTINGS),
    "messages": ("messages", MESSAGES_ITEMS, MESSAGES_TOOLS, MESSAGES_SETTINGS),
}
