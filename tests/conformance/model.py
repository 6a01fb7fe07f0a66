"""A model that does as it is told, behind Chat Completions and behind Messages: for suites that
need sensible answers from a model and judge the protocol around them."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.e2e.upstreams import Answer, Seen

_SAY = re.compile(r"(?:exactly|only|just)[^\"'`]{0,40}[\"'`]([^\"'`]{1,60})[\"'`]", re.IGNORECASE)
_WORD = re.compile(r"(?:exactly|only|the word|reply with|say)[: ]+(?:the word )?([A-Z0-9_-]{2,})\b")
_ALL = re.compile(r"exactly: ([^\"'`\n]{1,60})$")
_THOUGHT = "Let me think."
_STREAM = {"content-type": "text/event-stream"}
_JSON = {"content-type": "application/json"}


class Ask:
    """What a request wants, whatever its protocol."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []
        self.tools: list[tuple[str, Any]] = []
        self.choice: str | None = "auto"
        self.schema: Any = None
        self.json = False
        self.limit: int | None = None
        self.stop: list[str] = []
        self.images = 0
        self.answered = ""
        self.thinks = False
        self.parallel = True


def reply(ask: Ask) -> tuple[str, list[tuple[str, Any]], str]:
    """(text, calls, why it ended): ``stop`` (and which one), ``length`` or ``tool_calls``."""
    last = next((t for r, t in reversed(ask.texts) if r == "user"), "")
    if ask.tools and ask.choice != "none" and not ask.answered:
        named = [t for t in ask.tools if t[0] == ask.choice]
        wanted = ask.choice == "required" or named or _wants(last, ask.tools)
        if wanted:
            many = ask.parallel and _many(last)
            called = named or (ask.tools if many else _nearest(last, ask.tools))
            return "", [(name, _instance(schema, last)) for name, schema in called], "tool_calls"
    text = _words(ask, last)
    if cut := next((stop for stop in ask.stop if stop in text), None):
        return text.split(cut)[0], [], f"stop: {cut}"
    words = re.findall(r"\S+\s*", text)
    if ask.limit is not None and len(words) > ask.limit:
        return "".join(words[: ask.limit]), [], "length"
    return text, [], "stop"


def _words(ask: Ask, last: str) -> str:
    if ask.schema is not None:
        return json.dumps(_instance(ask.schema, last))
    if ask.json:
        return json.dumps({"answer": "yes", "ok": True})
    if ask.answered:
        return f"The tool says: {ask.answered}"
    for pattern in (_SAY, _ALL, _WORD):
        for _, text in (("user", last), *reversed(ask.texts)):
            if match := pattern.search(text):
                return match[1]
    if ask.images:
        return "The image shows a red square."
    if re.search(r"\bcount\b", last, re.IGNORECASE):
        return ", ".join(map(str, range(1, 41)))
    known = " ".join(text for _, text in ask.texts[:-1])
    return f"You said: {last} {known[:400]}".strip()


def _wants(last: str, tools: list[tuple[str, Any]]) -> bool:
    words = {w for name, _ in tools for w in re.split(r"[^a-z]+", name.lower()) if len(w) > 3}
    return any(word in last.lower() for word in words) or "tool" in last.lower()


def _many(last: str) -> bool:
    return " and " in last.lower() and "both" in last.lower()


def _nearest(last: str, tools: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [max(tools, key=lambda t: sum(w in last.lower() for w in t[0].lower().split("_")))]


def _instance(schema: Any, text: str) -> Any:
    """Something that fits ``schema``, with words of ``text`` where it asks for a string."""
    if not isinstance(schema, dict):
        return {}
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return next((v for v in schema["enum"] if str(v) in text), schema["enum"][0])
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object" or "properties" in schema:
        return {k: _instance(v, text) for k, v in (schema.get("properties") or {}).items()}
    if kind == "array":
        return [_instance(schema.get("items"), text)]
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    if kind in ("integer", "number"):
        return numbers[0] if numbers else 1
    if kind == "boolean":
        return True
    names = re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", text)
    return names[0] if names else "Paris"


def _refusal(said: str) -> Answer:
    error = {"message": said, "type": "invalid_request_error", "param": None, "code": None}
    return Answer(400, _JSON, [json.dumps({"error": error}).encode()])


def chat(seen: Seen) -> Answer:
    """The model behind Chat Completions; it has no logprobs and gives one answer."""
    body = seen.json()
    listed = body.get("messages")
    if not isinstance(listed, list) or not all(isinstance(m, dict) for m in listed):
        return _refusal("messages must be a list of messages")
    for name in ("logprobs", "top_logprobs"):
        if body.get(name):
            return _refusal(f"{name} is not supported")
    if (body.get("n") or 1) > 1:
        return _refusal("n must be 1")
    ask = Ask()
    for message in body["messages"]:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        ask.images += sum(p.get("type") == "image_url" for p in parts)
        text = " ".join(p.get("text") or "" for p in parts)
        ask.texts.append((message["role"], text))
        ask.answered = text if message["role"] == "tool" else ""
    functions = [t["function"] for t in body.get("tools") or ()]
    ask.tools = [(f["name"], f.get("parameters")) for f in functions]
    choice = body.get("tool_choice") or "auto"
    ask.choice = choice["function"]["name"] if isinstance(choice, dict) else choice
    form = body.get("response_format") or {}
    ask.schema = (form.get("json_schema") or {}).get("schema")
    ask.json = form.get("type") == "json_object"
    ask.limit = body.get("max_tokens") or body.get("max_completion_tokens")
    stop = body.get("stop") or []
    ask.stop = [stop] if isinstance(stop, str) else stop
    ask.thinks = body.get("reasoning_effort", "none") != "none"
    ask.parallel = body.get("parallel_tool_calls", True)
    text, calls, finish = reply(ask)
    finish = finish.partition(":")[0]
    used = {"prompt_tokens": 20, "completion_tokens": max(1, len(text.split()))}
    usage = {**used, "total_tokens": sum(used.values())}
    made = [
        {
            "id": f"call_{n}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(given)},
        }
        for n, (name, given) in enumerate(calls)
    ]
    head = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        message: dict[str, Any] = {"role": "assistant", "content": text or None}
        if ask.thinks:
            message["reasoning_content"] = _THOUGHT
        if made:
            message["tool_calls"] = made
        choice = {"index": 0, "message": message, "finish_reason": finish}
        whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
        return Answer(headers=_JSON, chunks=[json.dumps(whole).encode()])

    def chunk(delta: Any, reason: str | None = None, **more: Any) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
        data = {**head, "object": "chat.completion.chunk", "choices": choices, **more}
        return b"data: " + json.dumps(data).encode() + b"\n\n"

    chunks = [chunk({"role": "assistant", "content": ""})]
    chunks += [chunk({"reasoning_content": _THOUGHT})] if ask.thinks else []
    chunks += [chunk({"content": piece}) for piece in re.findall(r"\S+\s*", text)]
    chunks += [chunk({"tool_calls": [{"index": n, **call}]}) for n, call in enumerate(made)]
    chunks += [chunk({}, finish, usage=usage), b"data: [DONE]\n\n"]
    return Answer(headers=_STREAM, chunks=chunks)


def messages(seen: Seen) -> Answer:
    """The model behind Anthropic's Messages."""
    body = seen.json()
    listed = body.get("messages")
    wrong = not isinstance(listed, list) or not all(isinstance(m, dict) for m in listed)
    if wrong or not ("max_tokens" in body or seen.path.endswith("/count_tokens")):
        said = "messages: must be a list" if wrong else "max_tokens: Field required"
        error = {"type": "invalid_request_error", "message": said}
        return Answer(400, _JSON, [json.dumps({"type": "error", "error": error}).encode()])
    if seen.path.endswith("/count_tokens"):
        return Answer(headers=_JSON, chunks=[json.dumps({"input_tokens": len(seen.body)}).encode()])
    ask = Ask()
    system = body.get("system") or []
    system = [{"text": system}] if isinstance(system, str) else system
    ask.texts += [("system", block["text"]) for block in system]
    for message in body["messages"]:
        content = message["content"]
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        ask.images += sum(b["type"] == "image" for b in blocks)
        results = [b for b in blocks if b["type"] == "tool_result"]
        ask.answered = " ".join(str(b.get("content")) for b in results)
        ask.texts.append((message["role"], " ".join(b.get("text") or "" for b in blocks)))
    ask.tools = [(t["name"], t["input_schema"]) for t in body.get("tools") or ()]
    choice = body.get("tool_choice") or {"type": "auto"}
    ask.choice = {"any": "required", "tool": choice.get("name")}.get(choice["type"], choice["type"])
    form = (body.get("output_config") or {}).get("format") or {}
    ask.schema = form.get("schema")
    ask.json = any("JSON object" in block["text"] for block in system)
    ask.limit, ask.stop = body["max_tokens"], body.get("stop_sequences") or []
    ask.parallel = not choice.get("disable_parallel_tool_use")
    text, calls, finish = reply(ask)
    finish, _, cut = finish.partition(": ")
    reason = {"length": "max_tokens", "tool_calls": "tool_use"}.get(finish, "end_turn")
    reason = "stop_sequence" if cut else reason
    usage = {"input_tokens": 20, "output_tokens": max(1, len(text.split()))}
    ask.thinks = (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    thought = {"type": "thinking", "thinking": _THOUGHT, "signature": "c2lnbmVk"}
    content: list[dict[str, Any]] = [thought] if ask.thinks else []
    content += [{"type": "text", "text": text}] if text else []
    content += [
        {"type": "tool_use", "id": f"toolu_{n}", "name": name, "input": given}
        for n, (name, given) in enumerate(calls)
    ]
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
    if not body.get("stream"):
        ended = {"content": content, "stop_reason": reason, "stop_sequence": cut or None}
        ended["usage"] = usage
        return Answer(headers=_JSON, chunks=[json.dumps({**head, **ended}).encode()])

    def event(kind: str, **fields: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()

    begun = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    chunks = [event("message_start", message={**head, **begun})]
    for index, block in enumerate(content):
        kind = block["type"]
        bare = {"text": {"text": ""}, "tool_use": {"input": {}}}
        empty = {**block, **bare.get(kind, {"thinking": "", "signature": ""})}
        chunks.append(event("content_block_start", index=index, content_block=empty))
        if kind == "thinking":
            pieces = [
                {"type": "thinking_delta", "thinking": _THOUGHT},
                {"type": "signature_delta", "signature": thought["signature"]},
            ]
        elif kind == "text":
            pieces = [{"type": "text_delta", "text": w} for w in re.findall(r"\S+\s*", text)]
        else:
            pieces = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
        chunks += [event("content_block_delta", index=index, delta=p) for p in pieces]
        chunks.append(event("content_block_stop", index=index))
    ended = {"stop_reason": reason, "stop_sequence": cut or None}
    chunks += [event("message_delta", delta=ended, usage=usage), event("message_stop")]
    return Answer(headers=_STREAM, chunks=chunks)
