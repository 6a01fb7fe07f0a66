"""A Turn of a client of another protocol as a Responses request for an upstream. Source: OpenAI's
API reference (responses/create).

State stays with the client: nothing is stored upstream, and reasoning comes back encrypted.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...json_text import load
from ...tools.bridge import Bridge
from ...turn import Item, Tool, Turn, is_absent, is_text
from ..fields import refuse_more
from ..protocols import Target
from ..quirks import apply
from ..reasoning import unpack

#: Settings with the same name and meaning on both sides.
_SAME = ("temperature", "top_p", "parallel_tool_calls", "tool_choice", "service_tier", "text")
#: What only concerns the client's own provider.
_OWN = ("metadata", "user", "safety_identifier", "prompt_cache_key")
_UNKNOWN = (
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "top_k",
)
#: The API refuses a smaller limit.
_LEAST_TOKENS = 16
_encode = msgspec.json.encode
_parts = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_TEXTS = {b'"input_text"', b'"output_text"', b'"text"', b'"summary_text"'}
_IMAGES = {b'"input_image"', b'"image_url"'}
_ROLES = frozenset({"user", "assistant", "system", "developer"})


def write_request(turn: Turn, bridge: Bridge, target: Target, notes: list[str]) -> bytes:
    """The body for ``POST …/responses``; ``notes`` names what was left out."""
    refuse_more(turn)
    body: dict[str, Any] = {"stream": turn.stream or target.quirks.as_codex, "store": False}
    body["include"] = ["reasoning.encrypted_content"]
    if bridge.offered:
        kinds = ("function", "custom")
        body["tools"] = [_tool(tool) for tool in turn.tools if tool.get("type") in kinds]
    notes += [
        f"tool {kind} left out: the client's own provider would run it"
        for kind in dict.fromkeys(bridge.left_out)
    ]
    for name in _SAME:
        value = turn.setting(name)
        tied = name in ("tool_choice", "parallel_tool_calls")
        if value is not None and (bridge.offered or not tied):
            body[name] = value
    if not target.third_party:
        body |= {n: v for n in _OWN if (v := turn.setting(n)) is not None}
    if target.caching:
        body.get("tools", []).sort(key=lambda tool: str(tool.get("name")))
        if target.caching.key:
            body["prompt_cache_key"] = target.caching.key
    if (limit := turn.setting("max_output_tokens")) is not None:
        body["max_output_tokens"] = max(limit, _LEAST_TOKENS)
    if effort := turn.effort:
        body["reasoning"] = {"effort": effort, "summary": "auto"}
    body = apply(body, target.quirks, notes)
    notes += [
        f"setting {name} left out: no counterpart in the Responses API"
        for name in _UNKNOWN
        if bytes(turn.fields.get(name, b"null")) not in (b"null", b"false")
    ]
    items = _Items(turn, target, notes)
    pieces: list[bytes | memoryview] = []
    for item in turn.items:
        if made := items.written(item):
            pieces.append(b"," if pieces else b"[")
            pieces += made
    pieces.append(b"]" if pieces else b"[]")
    head, rest = _encode({"model": target.model}), _encode(body)
    return b"".join([head[:-1], b',"input":', *pieces, b",", rest[1:]])


def _tool(tool: Tool) -> Tool:
    if tool["type"] == "custom":
        return tool
    schema = tool.get("parameters") or {"type": "object", "properties": {}}
    # The API takes an absent ``strict`` for true, which changes what schemas it accepts.
    return {**tool, "parameters": schema, "strict": bool(tool.get("strict"))}


class _Items:
    """Items as JSON in pieces, so that a long history is copied once."""

    def __init__(self, turn: Turn, target: Target, notes: list[str]) -> None:
        self._turn = turn
        self._target = target
        self._notes = notes

    def written(self, item: Item) -> list[bytes | memoryview]:
        """The JSON of ``item``; empty when it is left out."""
        kind = item.type or "message"
        if kind == "message":
            role = item.role or "user"
            if role == "system" and self._target.quirks.as_codex:
                role = "developer"
            if role not in _ROLES:
                self._note(f"role {role} sent as user: the Responses API has none")
                role = "user"
            head = b'{"type":"message","role":%b,"content":' % _encode(role)
            content = self._content(item, item.content)
            return [head, *content, b"}"] if content else []
        if kind == "reasoning":
            fields, _ = unpack(item.encrypted_content, self._target.provider)
            return [_encode(fields["item"])] if isinstance(fields.get("item"), dict) else []
        if kind in ("function_call", "custom_tool_call"):
            given, field = item.arguments, b"arguments"
            if kind == "custom_tool_call":
                given, field = item.input, b"input"
            head = b'{"type":"%b","call_id":%b,"name":%b,"%b":' % (
                kind.encode(),
                _encode(item.call_id),
                _encode(item.name),
                field,
            )
            return [head, memoryview(given) if is_text(given) else b'""', b"}"]
        if kind in ("function_call_output", "custom_tool_call_output"):
            head = b'{"type":"%b","call_id":%b,"output":' % (kind.encode(), _encode(item.call_id))
            output = self._content(item, item.output) or [b'""']
            if item.failed:
                output = _failed(b"".join(output))
            return [head, *output, b"}"]
        self._note(f"item {kind} left out: a client of this protocol has none")
        return []

    def _content(self, item: Item, content: msgspec.Raw) -> list[bytes | memoryview]:
        if is_text(content):
            return [memoryview(content)]
        if is_absent(content):
            return []
        made: list[bytes] = []
        for part in load(content, f"{self._turn.place(item)}.content", _parts):
            kind = bytes(part.get("type", msgspec.Raw()))
            if kind in _TEXTS:
                name = b"output_text" if item.role == "assistant" else b"input_text"
                text = part.get("text", msgspec.Raw())
                made.append(b'{"type":"%b","text":%b}' % (name, text if is_text(text) else b'""'))
            elif kind in _IMAGES and not self._target.images:
                self._note("image left out: this model takes text only")
                text = b"[image left out: this model takes text only]"
                made.append(b'{"type":"input_text","text":"%b"}' % text)
            else:
                made.append(_encode(part))
        return [b"[%b]" % b",".join(made)]

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)


def _failed(output: bytes) -> list[bytes | memoryview]:
    """Responses has no word for a failed output: the text says it."""
    if output[:1] == b'"':
        return [b'"[error] ', memoryview(output)[1:]]
    return [b'[{"type":"input_text","text":"[error]"},', memoryview(output)[1:]]
