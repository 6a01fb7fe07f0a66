"""The messages of a Messages request as items. Source: Anthropic's API reference (messages).

Strategy: a block becomes an item, or a part of one, in its place; results of tools come before
what the user says in the same message. Long texts and data are never decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from ...json_text import WireError, load, members, split
from ...turn import Item, is_absent, is_text
from ...untranslated import Untranslated
from ..block_text import block_text
from ..fields import ClientFields


class _Source(msgspec.Struct, gc=False):
    type: str | None = None
    media_type: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    url: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()


class _Block(msgspec.Struct, gc=False):
    """A block of any kind: only what its kind has is read."""

    type: str | None = None
    text: msgspec.Raw = msgspec.Raw()
    source: msgspec.Raw = msgspec.Raw()
    id: msgspec.Raw = msgspec.Raw()
    name: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    tool_use_id: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()
    is_error: msgspec.Raw = msgspec.Raw()
    thinking: msgspec.Raw = msgspec.Raw()
    signature: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()
    title: msgspec.Raw = msgspec.Raw()


class _Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[_Block]


_messages = msgspec.json.Decoder(list[_Message]).decode
_blocks = msgspec.json.Decoder(list[_Block]).decode
_source = msgspec.json.Decoder(_Source).decode
_text = msgspec.json.Decoder(str | None).decode
_flag = msgspec.json.Decoder(bool | None).decode
_KNOWN_FIELDS = frozenset({"role", "content"})
#: What is read of each kind of block, besides its type.
_FIELDS: dict[Any, frozenset[str]] = {
    kind: frozenset({"type", *names})
    for kind, names in {
        "text": ("text",),
        "image": ("source",),
        "document": ("source", "title"),
        "tool_use": ("id", "name", "input"),
        "tool_result": ("tool_use_id", "content", "is_error"),
        "thinking": ("thinking", "signature"),
        "redacted_thinking": ("data",),
    }.items()
}
_encode = msgspec.json.encode
_EMPTY = msgspec.Raw(b'""')


def read_items(system: msgspec.Raw | None, messages: msgspec.Raw) -> list[Item]:
    """The conversation, its ``system`` first; WireError that names the place of what is wrong."""
    items: list[Item] = []
    if system is not None and not is_absent(system):
        items.append(Item(type="message", role="system", content=_content(system, "system")))
    for number, message in enumerate(load(messages, "messages", _messages)):
        content, first = message.content, len(items)
        if isinstance(content, str):
            text = msgspec.Raw(_encode(content))
            items.append(Item(type="message", role=message.role, content=text, at=number))
            continue
        blocks = _Blocks(content, f"messages[{number}].content", partial(_raw, messages, number))
        if message.role == "assistant":
            _said(blocks, items)
        else:
            _asked(message.role, blocks, items)
        for item in items[first:]:
            item.at = number
    return items


def note_untranslated(own: ClientFields, untranslated: Untranslated) -> None:
    """Note what messages and blocks hold besides what is read."""
    _note_blocks(own.fields.get("system", msgspec.Raw()), "system", untranslated)
    for number, entry in enumerate(split(own.fields["messages"])):
        fields = members(entry)
        untranslated.add(fields, _KNOWN_FIELDS, f"messages[{number}]")
        _note_blocks(fields["content"], f"messages[{number}].content", untranslated)


def _note_blocks(content: msgspec.Raw, place: str, untranslated: Untranslated) -> None:
    """The same of a list of blocks; those of unknown kinds are put into words."""
    if bytes(memoryview(content)[:1]) != b"[":
        return
    for number, block in enumerate(split(content)):
        fields, block_place = members(block), f"{place}[{number}]"
        kind = load(fields.get("type", msgspec.Raw(b"null")))
        if known := _FIELDS.get(kind):
            untranslated.add(fields, known, block_place)
        if kind == "tool_result" and "content" in fields:
            _note_blocks(fields["content"], f"{block_place}.content", untranslated)


def _raw(messages: msgspec.Raw, number: int) -> msgspec.Raw:
    """The content of a message as it came."""
    return members(split(messages)[number])["content"]


class _Blocks:
    """The blocks of a list, with their ``place``; ``raw`` is the list as it came."""

    def __init__(self, blocks: list[_Block], place: str, raw: Callable[[], msgspec.Raw]) -> None:
        self.all = blocks
        self._place = place
        self._raw = raw

    def place(self, number: int) -> str:
        """Where a block stands."""
        return f"{self._place}[{number}]"

    def block_text(self, number: int) -> bytes:
        """A block that nobody else knows, in words, as JSON."""
        return _encode(block_text(split(self._raw())[number], self.place(number)))


def _read(raw: msgspec.Raw, place: str, decode: Any) -> Any:
    """A field of a block; None where there is none."""
    return load(raw, place, decode) if memoryview(raw).nbytes else None


def _texts(raw: msgspec.Raw, place: str) -> msgspec.Raw:
    if not is_text(raw):
        raise WireError(f"{place} must be a string", param=place)
    return raw


def _asked(role: str, blocks: _Blocks, items: list[Item]) -> None:
    rest: list[int] = []
    for n, block in enumerate(blocks.all):
        if block.type == "tool_result":
            place = blocks.place(n)
            items.append(
                Item(
                    type="function_call_output",
                    call_id=_read(block.tool_use_id, f"{place}.tool_use_id", _text),
                    output=_content(block.content, f"{place}.content"),
                    failed=bool(_read(block.is_error, f"{place}.is_error", _flag)),
                )
            )
        else:
            rest.append(n)
    if rest:
        items.append(Item(type="message", role=role, content=_parts(blocks, rest)))


def _said(blocks: _Blocks, items: list[Item]) -> None:
    texts: list[msgspec.Raw] = []

    def speak() -> None:
        if len(texts) == 1:
            items.append(Item(type="message", role="assistant", content=texts[0]))
        elif texts:
            parts = [b'{"type":"output_text","text":%b}' % t for t in texts]
            items.append(Item(type="message", role="assistant", content=_list(parts)))
        texts.clear()

    for n, block in enumerate(blocks.all):
        kind = block.type
        if kind == "text":
            texts.append(_must_be_text(block.text, blocks, n))
        elif kind == "tool_use":
            speak()
            place = blocks.place(n)
            given = bytes(block.input).decode() or "{}"
            items.append(
                Item(
                    type="function_call",
                    call_id=_read(block.id, f"{place}.id", _text),
                    name=_read(block.name, f"{place}.name", _text),
                    arguments=msgspec.Raw(_encode(given)),
                )
            )
        elif kind == "thinking":
            speak()
            summary = b""
            if is_text(block.thinking):
                summary = b'{"type":"summary_text","text":%b}' % block.thinking
            items.append(
                Item(
                    type="reasoning",
                    summary=msgspec.Raw(b"[%b]" % summary),
                    encrypted_content=block.signature,
                )
            )
        elif kind == "redacted_thinking":
            speak()
            items.append(Item(type="reasoning", encrypted_content=block.data))
        else:
            # What a server did in mid-answer: its readable part is all another upstream can use.
            texts.append(msgspec.Raw(blocks.block_text(n)))
    speak()


def _content(content: msgspec.Raw, place: str) -> msgspec.Raw:
    """Text or a list of parts, as the Responses API has it."""
    if is_text(content):
        return content
    if is_absent(content):
        return _EMPTY
    if bytes(memoryview(content)[:1]) != b"[":
        raise WireError(f"{place} must be a string or a list of blocks", param=place)
    blocks = _Blocks(load(content, place, _blocks), place, lambda: content)
    return _parts(blocks, range(len(blocks.all)))


def _parts(blocks: _Blocks, numbers: Sequence[int]) -> msgspec.Raw:
    if len(numbers) == 1 and (only := blocks.all[numbers[0]]).type == "text":
        return _must_be_text(only.text, blocks, numbers[0])
    return _list([_part(blocks, n) for n in numbers])


def _must_be_text(raw: msgspec.Raw, blocks: _Blocks, number: int) -> msgspec.Raw:
    if not is_text(raw):
        place = f"{blocks.place(number)}.text"
        raise WireError(f"{place} must be a string", param=place)
    return raw


def _list(parts: list[bytes]) -> msgspec.Raw:
    return msgspec.Raw(b"[%b]" % b",".join(parts))


def _part(blocks: _Blocks, number: int) -> bytes:
    block = blocks.all[number]
    if block.type == "text":
        text = _must_be_text(block.text, blocks, number)
        return b'{"type":"input_text","text":%b}' % text
    if block.type in ("image", "document"):
        place = blocks.place(number)
        source = load(bytes(block.source) or b"null", f"{place}.source", _source)
        part = _image(source) if block.type == "image" else _document(block, source, place)
        if part is not None:
            return part
    return b'{"type":"input_text","text":%b}' % blocks.block_text(number)


def _image(source: _Source) -> bytes | None:
    if source.type == "base64" and is_text(source.data):
        return b'{"type":"input_image","image_url":%b}' % _data_url(source)
    if is_text(source.url):
        return b'{"type":"input_image","image_url":%b}' % source.url
    return None


def _document(block: _Block, source: _Source, place: str) -> bytes | None:
    if source.type == "base64" and is_text(source.data):
        title = _read(block.title, f"{place}.title", _text)
        name = _encode(title or "document.pdf")
        return b'{"type":"input_file","filename":%b,"file_data":%b}' % (name, _data_url(source))
    if is_text(source.url):
        return b'{"type":"input_file","file_url":%b}' % source.url
    return None


def _data_url(source: _Source) -> bytes:
    kind = _encode(source.media_type or "application/octet-stream")[1:-1]
    return b"".join((b'"data:', kind, b";base64,", memoryview(source.data)[1:]))
