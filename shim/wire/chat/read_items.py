"""The messages of a Chat Completions request as items. Source: OpenAI's API reference (chat).

Strategy: a message becomes the items it stands for, in order: what was thought, said, called. Long
texts are never decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec

from ...json_text import load, members, split
from ...turn import Item, WireError, is_absent, is_text, text_of
from ...untranslated import Untranslated
from ..block_text import block_text
from ..fields import ClientFields


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
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None
    tool_call_id: str | None = None
    reasoning_content: msgspec.Raw = msgspec.Raw()
    reasoning: msgspec.Raw = msgspec.Raw()
    reasoning_details: msgspec.Raw = msgspec.Raw()
    audio: msgspec.Raw = msgspec.Raw()


class _Image(msgspec.Struct, gc=False):
    url: msgspec.Raw = msgspec.Raw()
    detail: str | None = None


class _File(msgspec.Struct, gc=False):
    filename: msgspec.Raw = msgspec.Raw()
    file_data: msgspec.Raw = msgspec.Raw()
    file_url: msgspec.Raw = msgspec.Raw()
    file_id: msgspec.Raw = msgspec.Raw()


class _Part(msgspec.Struct, gc=False):
    type: str | None = None
    text: msgspec.Raw = msgspec.Raw()
    refusal: msgspec.Raw = msgspec.Raw()
    image_url: msgspec.Raw = msgspec.Raw()
    file: msgspec.Raw = msgspec.Raw()
    input_audio: msgspec.Raw = msgspec.Raw()
    path: msgspec.Raw = msgspec.Raw()


_messages = msgspec.json.Decoder(list[_Message]).decode
_KNOWN_FIELDS = frozenset({*_Message.__struct_fields__, "annotations"})
_KNOWN_OF_PARTS = frozenset({*_Part.__struct_fields__})
_parts = msgspec.json.Decoder(list[_Part]).decode
_image = msgspec.json.Decoder(_Image).decode
_file = msgspec.json.Decoder(_File).decode
_encode = msgspec.json.encode
_EMPTY = msgspec.Raw(b'""')
#: What our own answers carry (see reasoning.py), among what others put into the same list.
_OURS = "interpose"


def read_items(messages: msgspec.Raw) -> list[Item]:
    """The conversation; WireError that names the place of what is wrong."""
    items: list[Item] = []
    custom: set[str | None] = set()
    legacy: str | None = None
    for number, message in enumerate(load(messages, "messages", _messages)):
        place, first = f"messages[{number}]", len(items)
        role = message.role
        if role == "assistant":
            legacy = _said(message, number, items, custom)
        elif role in ("tool", "function"):
            call_id = message.tool_call_id if role == "tool" else legacy
            kind = "custom_tool_call" if call_id in custom else "function_call"
            output = _content(message.content, "input_text", place)
            items.append(Item(type=f"{kind}_output", call_id=call_id, output=output))
        else:
            content = _content(message.content, "input_text", place)
            items.append(Item(type="message", role=role, content=content))
        for item in items[first:]:
            item.at = number
    return items


def note_untranslated(own: ClientFields, untranslated: Untranslated) -> None:
    """Note what messages and their parts hold besides what is read; parts of unknown kinds are put
    into words."""
    for number, entry in enumerate(split(own.fields["messages"], "messages")):
        place, fields = f"messages[{number}]", members(entry)
        untranslated.add(fields, _KNOWN_FIELDS, place)
        content = fields.get("content", msgspec.Raw())
        for n, part in enumerate(split(content) if bytes(memoryview(content)[:1]) == b"[" else ()):
            read = members(part)
            if load(read.get("type", msgspec.Raw(b"null"))) in _PARTS:
                untranslated.add(read, _KNOWN_OF_PARTS, f"{place}.content[{n}]")


def _said(message: _Message, number: int, items: list[Item], custom: set[str | None]) -> str | None:
    """The items of an assistant's message; the id of a call of the old form, if it has one."""
    place = f"messages[{number}]"
    _thought(message, items, place)
    content = _content(message.content, "output_text", place)
    if memoryview(content).nbytes > 2:
        items.append(Item(type="message", role="assistant", content=content))
    if is_text(message.refusal):
        part = b'[{"type":"refusal","refusal":%b}]' % message.refusal
        items.append(Item(type="message", role="assistant", content=msgspec.Raw(part)))
    if not is_absent(message.audio):
        items.append(Item(type="audio"))
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
        else:
            items.append(Item(type=f"tool call of type {call.type}"))
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


def _thought(message: _Message, items: list[Item], place: str) -> None:
    """What was thought before a message: our own state in it, or only what can be read."""
    text = next((t for t in (message.reasoning_content, message.reasoning) if is_text(t)), None)
    states = _states(message.reasoning_details, place)
    if text is None and not states:
        return
    summary = b"[]" if text is None else b'[{"type":"summary_text","text":%b}]' % text
    for state in states or [msgspec.Raw()]:
        items.append(Item(type="reasoning", summary=msgspec.Raw(summary), encrypted_content=state))
        summary = b"[]"


def _states(details: msgspec.Raw, place: str) -> list[msgspec.Raw]:
    if b'"interpose"' not in bytes(details):
        return []
    entries: Any = load(details, f"{place}.reasoning_details")
    return [
        msgspec.Raw(_encode(d["data"]))
        for d in (entries if isinstance(entries, list) else ())
        if isinstance(d, dict) and d.get("format") == _OURS and isinstance(d.get("data"), str)
    ]


def _content(content: msgspec.Raw, kind: str, place: str) -> msgspec.Raw:
    """Text or a list of parts, as the Responses API has it; ``kind`` is that of a text."""
    if is_text(content):
        return content
    if is_absent(content):
        return _EMPTY
    place = f"{place}.content"
    parts = load(content, place, _parts)
    if len(parts) == 1 and parts[0].type == "text" and is_text(parts[0].text):
        only: msgspec.Raw = parts[0].text
        return only
    encoded: list[bytes] = []
    raws: list[msgspec.Raw] = []
    for number, part in enumerate(parts):
        read = _PARTS.get(part.type)
        if read is not None:
            encoded.append(read(part, kind.encode(), f"{place}[{number}]"))
        else:
            # Nobody else knows it: what can be read of it is text.
            raws = raws or split(content, place)
            text = block_text(raws[number], f"{place}[{number}]")
            encoded.append(b'{"type":"%b","text":%b}' % (kind.encode(), _encode(text)))
    return msgspec.Raw(b"[%b]" % b",".join(encoded))


def _must_be_text(raw: msgspec.Raw, place: str) -> msgspec.Raw:
    if not is_text(raw):
        raise WireError(f"{place} must be a string", param=place)
    return raw


def _text_part(part: _Part, kind: bytes, place: str) -> bytes:
    return b'{"type":"%b","text":%b}' % (kind, _must_be_text(part.text, f"{place}.text"))


def _refusal_part(part: _Part, kind: bytes, place: str) -> bytes:
    refusal = _must_be_text(part.refusal, f"{place}.refusal")
    return b'{"type":"refusal","refusal":%b}' % refusal


def _image_part(part: _Part, kind: bytes, place: str) -> bytes:
    if is_text(part.image_url):
        return b'{"type":"input_image","image_url":%b}' % part.image_url
    image = load(_given(part.image_url), f"{place}.image_url", _image)
    url = _must_be_text(image.url, f"{place}.image_url.url")
    detail = b',"detail":%b' % _encode(image.detail) if image.detail else b""
    return b'{"type":"input_image","image_url":%b%b}' % (url, detail)


def _local_image(part: _Part, kind: bytes, place: str) -> bytes:
    # What an agent on this machine is shown.
    path = text_of(_must_be_text(part.path, f"{place}.path"))
    url = f"file://{quote(path, errors='replace')}"
    return b'{"type":"input_image","image_url":%b}' % _encode(url)


def _file_part(part: _Part, kind: bytes, place: str) -> bytes:
    file = load(_given(part.file), f"{place}.file", _file)
    encoded = [b'{"type":"input_file"']
    for name in _File.__struct_fields__:
        if not is_absent(raw := getattr(file, name)):
            text = _must_be_text(raw, f"{place}.file.{name}")
            encoded.append(b'"%b":%b' % (name.encode(), text))
    return b",".join(encoded) + b"}"


def _audio_part(part: _Part, kind: bytes, place: str) -> bytes:
    return b'{"type":"input_audio","input_audio":%b}' % _given(part.input_audio)


def _given(raw: msgspec.Raw) -> bytes:
    return bytes(raw) or b"null"


_PARTS: dict[str | None, Callable[[_Part, bytes, str], bytes]] = {
    "text": _text_part,
    "refusal": _refusal_part,
    "image_url": _image_part,
    "local_image": _local_image,
    "file": _file_part,
    "input_audio": _audio_part,
}
