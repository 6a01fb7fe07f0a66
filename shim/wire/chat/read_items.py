"""The messages of a Chat Completions request as items. Source: OpenAI's API reference (chat).

Strategy: a message becomes the items it stands for, in order: what was thought, said, called. Long
texts are never decoded.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import msgspec

from ...turn import Item, WireError, is_text, text_of


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()


class _Call(msgspec.Struct, gc=False):
    id: str | None = None
    type: str | None = None
    function: _Function | None = None
    custom: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    role: str
    content: msgspec.Raw = msgspec.Raw()
    refusal: msgspec.Raw = msgspec.Raw()
    name: str | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None
    tool_call_id: str | None = None
    reasoning_content: msgspec.Raw = msgspec.Raw()
    reasoning: msgspec.Raw = msgspec.Raw()
    reasoning_details: msgspec.Raw = msgspec.Raw()


class _Image(msgspec.Struct, gc=False):
    url: msgspec.Raw = msgspec.Raw()
    detail: str | None = None


class _Part(msgspec.Struct, gc=False):
    type: str | None = None
    text: msgspec.Raw = msgspec.Raw()
    refusal: msgspec.Raw = msgspec.Raw()
    image_url: msgspec.Raw = msgspec.Raw()
    file: msgspec.Raw = msgspec.Raw()
    input_audio: msgspec.Raw = msgspec.Raw()
    path: str | None = None


_messages = msgspec.json.Decoder(list[_Message]).decode
_parts = msgspec.json.Decoder(list[_Part]).decode
_image = msgspec.json.Decoder(_Image).decode
_encode = msgspec.json.encode
_AT = re.compile(r"^(.*) - at `\$(.*)`$")
_EMPTY = msgspec.Raw(b'""')
#: What our own answers carry (see reasoning.py), among what others put into the same list.
_OURS = "interpose"


def read_items(messages: msgspec.Raw) -> list[Item]:
    """The conversation; WireError that names the place of what is wrong."""
    where = "messages"
    items: list[Item] = []
    custom: set[str | None] = set()
    legacy: str | None = None
    try:
        for number, message in enumerate(_messages(messages)):
            where = f"messages[{number}].content"
            role = message.role
            if role == "assistant":
                legacy = _said(message, number, items, custom)
            elif role in ("tool", "function"):
                call_id = message.tool_call_id if role == "tool" else legacy
                kind = "custom_tool_call" if call_id in custom else "function_call"
                output = _content(message.content, "input_text")
                items.append(Item(type=f"{kind}_output", call_id=call_id, output=output))
            else:
                content = _content(message.content, "input_text")
                items.append(Item(type="message", role=role, content=content))
    except msgspec.ValidationError as e:
        found = _AT.match(str(e))
        what, path = found.groups() if found else (str(e), "")
        raise WireError(f"{where}{path}: {what}", param=f"{where}{path}") from None
    return items


def _said(message: _Message, number: int, items: list[Item], custom: set[str | None]) -> str | None:
    """The items of an assistant's message; the id of a call of the old form, if it has one."""
    _thought(message, items)
    content = _content(message.content, "output_text")
    if memoryview(content).nbytes > 2:
        items.append(Item(type="message", role="assistant", content=content))
    if is_text(message.refusal):
        part = b'[{"type":"refusal","refusal":%b}]' % message.refusal
        items.append(Item(type="message", role="assistant", content=msgspec.Raw(part)))
    for call in message.tool_calls or ():
        if call.custom is not None:
            custom.add(call.id)
            items.append(
                Item(
                    type="custom_tool_call",
                    call_id=call.id,
                    name=call.custom.name,
                    input=call.custom.input,
                )
            )
        elif call.function is not None:
            items.append(_function_call(call.id, call.function))
    if message.function_call is None:
        return None
    call_id = f"call_{number}"
    items.append(_function_call(call_id, message.function_call))
    return call_id


def _function_call(call_id: str | None, function: _Function) -> Item:
    arguments = function.arguments
    if not is_text(arguments):
        # Some clients send the object itself.
        arguments = msgspec.Raw(_encode(bytes(arguments).decode() or "{}"))
    return Item(type="function_call", call_id=call_id, name=function.name, arguments=arguments)


def _thought(message: _Message, items: list[Item]) -> None:
    """What was thought before a message: our own state in it, or only what can be read."""
    text = next((t for t in (message.reasoning_content, message.reasoning) if is_text(t)), None)
    states = _states(message.reasoning_details)
    if text is None and not states:
        return
    summary = b"[]" if text is None else b'[{"type":"summary_text","text":%b}]' % text
    for state in states or [msgspec.Raw()]:
        items.append(Item(type="reasoning", summary=msgspec.Raw(summary), encrypted_content=state))
        summary = b"[]"


def _states(details: msgspec.Raw) -> list[msgspec.Raw]:
    if b'"interpose"' not in bytes(details):
        return []
    found: list[Any] = msgspec.json.decode(details)
    return [
        msgspec.Raw(_encode(d["data"]))
        for d in found
        if isinstance(d, dict) and d.get("format") == _OURS and isinstance(d.get("data"), str)
    ]


def _content(content: msgspec.Raw, kind: str) -> msgspec.Raw:
    """Text or a list of parts, as the Responses API has it; ``kind`` is that of a text."""
    if is_text(content):
        return content
    if not memoryview(content).nbytes or bytes(content) == b"null":
        return _EMPTY
    parts = _parts(content)
    if len(parts) == 1 and parts[0].type == "text" and is_text(parts[0].text):
        return parts[0].text
    made = [piece for part in parts if (piece := _part(part, kind.encode()))]
    return msgspec.Raw(b"[%b]" % b",".join(made))


def _part(part: _Part, kind: bytes) -> bytes:
    if part.type in ("text", "thinking") and is_text(part.text):
        return b'{"type":"%b","text":%b}' % (kind, part.text)
    if part.type == "refusal" and is_text(part.refusal):
        return b'{"type":"refusal","refusal":%b}' % part.refusal
    if part.type == "image_url" and memoryview(part.image_url).nbytes:
        image = _Image(part.image_url) if is_text(part.image_url) else _image(part.image_url)
        detail = b',"detail":%b' % _encode(image.detail) if image.detail else b""
        return b'{"type":"input_image","image_url":%b%b}' % (image.url, detail)
    if part.type == "local_image" and part.path:
        # What an agent on this machine is shown.
        url = f"file://{quote(part.path, errors='replace')}"
        return b'{"type":"input_image","image_url":%b}' % _encode(url)
    if part.type == "file" and memoryview(part.file).nbytes:
        return b'{"type":"input_file",%b' % bytes(part.file)[1:]
    if part.type == "input_audio" and memoryview(part.input_audio).nbytes:
        return b'{"type":"input_audio","input_audio":%b}' % part.input_audio
    text = text_of(part.text) if is_text(part.text) else f"[{part.type or 'part'}]"
    return b'{"type":"%b","text":%b}' % (kind, _encode(text))
