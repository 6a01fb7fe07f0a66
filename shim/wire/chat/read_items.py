"""The messages of a Chat Completions request as items. Source: OpenAI's API reference (chat).

Strategy: a message becomes the items it stands for, in order: what was thought, said, called. Long
texts are never decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from ...json_text import load, members, split
from ...turn import Item, WireError, is_absent, is_text, text_of
from ...untranslated import Untranslated
from ..block_text import block_text

_NONE = msgspec.Raw()


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: msgspec.Raw = _NONE
    input: msgspec.Raw = _NONE


class _Call(msgspec.Struct, gc=False):
    id: str | None = None
    type: str | None = None
    function: _Function | None = None
    custom: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    role: str
    content: msgspec.Raw = _NONE
    refusal: msgspec.Raw = _NONE
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None
    tool_call_id: str | None = None
    reasoning_content: msgspec.Raw = _NONE
    reasoning: msgspec.Raw = _NONE
    reasoning_details: msgspec.Raw = _NONE
    audio: msgspec.Raw = _NONE


class _Image(msgspec.Struct, gc=False):
    url: msgspec.Raw = _NONE
    detail: str | None = None


class _File(msgspec.Struct, gc=False):
    filename: msgspec.Raw = _NONE
    file_data: msgspec.Raw = _NONE
    file_url: msgspec.Raw = _NONE
    file_id: msgspec.Raw = _NONE


class _Part(msgspec.Struct, gc=False):
    type: str | None = None
    text: msgspec.Raw = _NONE
    refusal: msgspec.Raw = _NONE
    image_url: msgspec.Raw = _NONE
    file: msgspec.Raw = _NONE
    input_audio: msgspec.Raw = _NONE
    path: msgspec.Raw = _NONE


class _WholeMessage(_Message, gc=False, forbid_unknown_fields=True):
    """A message with nothing in it that is not read, or known to have no counterpart."""

    annotations: msgspec.Raw = _NONE
    name: msgspec.Raw = _NONE


class _WholePart(_Part, gc=False, forbid_unknown_fields=True):
    cache_control: msgspec.Raw = _NONE


_whole_messages = msgspec.json.Decoder(list[_WholeMessage]).decode
_whole_message = msgspec.json.Decoder(_WholeMessage).decode
_message = msgspec.json.Decoder(_Message).decode
_whole_parts = msgspec.json.Decoder(list[_WholePart]).decode
_parts = msgspec.json.Decoder(list[_Part]).decode
_image = msgspec.json.Decoder(_Image).decode
_file = msgspec.json.Decoder(_File).decode
_encode = msgspec.json.encode
_KNOWN_FIELDS = frozenset({*_Message.__struct_fields__, "annotations"})
_KNOWN_OF_PARTS = frozenset(_Part.__struct_fields__)
_EMPTY = msgspec.Raw(b'""')
#: What our own answers carry (see reasoning.py), among what others put into the same list.
_OURS = "interpose"


def read_items(messages: msgspec.Raw, untranslated: Untranslated) -> list[Item]:
    """The conversation; WireError that names the place of what is wrong.

    ``untranslated`` gets the places of what is left out.
    """
    reader = _Reader(untranslated)
    try:
        whole = _whole_messages(messages)
    except (msgspec.DecodeError, RecursionError):
        for number, raw in enumerate(split(messages, "messages")):
            reader.read(raw, number)
    else:
        for number, message in enumerate(whole):
            if message.name is not _NONE:
                untranslated.add({"name": message.name}, frozenset(), f"messages[{number}]")
            reader.add(message, number)
    return reader.items


class _Reader:
    """Makes ``items`` of messages, one after the other."""

    def __init__(self, untranslated: Untranslated) -> None:
        self.items: list[Item] = []
        self._untranslated = untranslated
        #: The ids of calls of custom tools, and that of the last call of the old form.
        self._custom: set[str | None] = set()
        self._legacy: str | None = None

    def read(self, raw: msgspec.Raw, number: int) -> None:
        """Add a message that may hold anything."""
        try:
            message: _Message = _whole_message(raw)
        except (msgspec.DecodeError, RecursionError):
            message = load(raw, f"messages[{number}]", _message)
        self._untranslated.add(members(raw), _KNOWN_FIELDS, f"messages[{number}]")
        self.add(message, number)

    def add(self, message: _Message, number: int) -> None:
        """Add the items of a message."""
        role, content = message.role, message.content
        if role == "assistant":
            self._add_said(message, number)
            return
        if not is_text(content):
            content = self._content(content, b"input_text", number)
        if role in ("tool", "function"):
            call_id = message.tool_call_id if role == "tool" else self._legacy
            custom = call_id in self._custom
            kind = "custom_tool_call_output" if custom else "function_call_output"
            self.items.append(Item(type=kind, call_id=call_id, output=content, at=number))
        else:
            self.items.append(Item(type="message", role=role, content=content, at=number))

    def _add_said(self, message: _Message, number: int) -> None:
        add = self.items.append
        self._add_thought(message, number)
        content = message.content
        if not is_text(content):
            content = self._content(content, b"output_text", number)
        if memoryview(content).nbytes > 2:
            add(Item(type="message", role="assistant", content=content, at=number))
        if message.refusal is not _NONE and is_text(message.refusal):
            part = b'[{"type":"refusal","refusal":%b}]' % message.refusal
            add(Item(type="message", role="assistant", content=msgspec.Raw(part), at=number))
        if message.audio is not _NONE and not is_absent(message.audio):
            add(Item(type="audio", at=number))
        for call in message.tool_calls or ():
            if call.custom is not None:
                self._custom.add(call.id)
                name, text = call.custom.name, call.custom.input
                kind = "custom_tool_call"
                add(Item(type=kind, call_id=call.id, name=name, input=text, at=number))
            elif call.function is not None:
                add(_function_call(call.id, call.function, number))
            else:
                add(Item(type=f"tool call of type {call.type}", at=number))
        self._legacy = None
        if message.function_call is not None:
            self._legacy = f"call_{number}"
            add(_function_call(self._legacy, message.function_call, number))

    def _add_thought(self, message: _Message, number: int) -> None:
        """What was thought before a message: our own state in it, or only what can be read."""
        texts = message.reasoning_content, message.reasoning
        text = next((t for t in texts if t is not _NONE and is_text(t)), None)
        states = _states(message.reasoning_details, number)
        if text is None and not states:
            return
        summary = b"[]" if text is None else b'[{"type":"summary_text","text":%b}]' % text
        for state in states or [_NONE]:
            shown = msgspec.Raw(summary)
            self.items.append(
                Item(type="reasoning", summary=shown, encrypted_content=state, at=number)
            )
            summary = b"[]"

    def _content(self, content: msgspec.Raw, kind: bytes, number: int) -> msgspec.Raw:
        """A list of parts, as the Responses API has it, or the only text in it; ``kind`` is that of
        a text."""
        if is_absent(content):
            return _EMPTY
        place = f"messages[{number}].content"
        parts = self._read_parts(content, place)
        if len(parts) == 1 and parts[0].type == "text" and is_text(parts[0].text):
            only: msgspec.Raw = parts[0].text
            return only
        encoded: list[bytes] = []
        raws: list[msgspec.Raw] = []
        for n, part in enumerate(parts):
            read = _PARTS.get(part.type)
            if read is not None:
                encoded.append(read(part, kind, f"{place}[{n}]"))
            else:
                # Nobody else knows it: what can be read of it is text.
                raws = raws or split(content, place)
                text = block_text(raws[n], f"{place}[{n}]")
                encoded.append(b'{"type":"%b","text":%b}' % (kind, _encode(text)))
        return msgspec.Raw(b"[%b]" % b",".join(encoded))

    def _read_parts(self, content: msgspec.Raw, place: str) -> Sequence[_Part]:
        """The parts of a content; noted is what they hold besides what is read. Parts of unknown
        kinds are put into words."""
        untranslated = self._untranslated
        try:
            whole = _whole_parts(content)
        except (msgspec.DecodeError, RecursionError):
            parts: list[_Part] = load(content, place, _parts)
            for n, raw in enumerate(split(content)):
                if parts[n].type in _PARTS:
                    untranslated.add(members(raw), _KNOWN_OF_PARTS, f"{place}[{n}]")
            return parts
        for n, part in enumerate(whole):
            if part.cache_control is not _NONE and part.type in _PARTS:
                fields = {"cache_control": part.cache_control}
                untranslated.add(fields, frozenset(), f"{place}[{n}]")
        return whole


def _function_call(call_id: str | None, function: _Function, number: int) -> Item:
    arguments = function.arguments
    if not is_text(arguments):
        # Some clients send the object itself.
        arguments = msgspec.Raw(_encode(bytes(arguments).decode() or "{}"))
    kind = "function_call"
    return Item(type=kind, call_id=call_id, name=function.name, arguments=arguments, at=number)


def _states(details: msgspec.Raw, number: int) -> list[msgspec.Raw]:
    if details is _NONE or b'"interpose"' not in bytes(details):
        return []
    entries: Any = load(details, f"messages[{number}].reasoning_details")
    return [
        msgspec.Raw(_encode(d["data"]))
        for d in (entries if isinstance(entries, list) else ())
        if isinstance(d, dict) and d.get("format") == _OURS and isinstance(d.get("data"), str)
    ]


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
