"""The messages of a Messages request as items. Source: Anthropic's API reference (messages).

Strategy: a block becomes an item, or a part of one, in its place; results of tools come before
what the user says in the same message. Long texts and data are never decoded.
"""

from __future__ import annotations

import re

import msgspec

from ...turn import Item, WireError, is_text, text_of


class _Source(msgspec.Struct, gc=False):
    type: str | None = None
    media_type: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    url: msgspec.Raw = msgspec.Raw()


class _Block(msgspec.Struct, gc=False):
    type: str | None = None
    text: msgspec.Raw = msgspec.Raw()
    source: _Source | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    tool_use_id: str | None = None
    content: msgspec.Raw = msgspec.Raw()
    is_error: bool | None = None
    thinking: msgspec.Raw = msgspec.Raw()
    signature: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()
    title: str | None = None
    tool_name: str | None = None


class _Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[_Block]


_messages = msgspec.json.Decoder(list[_Message]).decode
_blocks = msgspec.json.Decoder(list[_Block]).decode
_encode = msgspec.json.encode
_AT = re.compile(r"^(.*) - at `\$(.*)`$")
_EMPTY = msgspec.Raw(b'""')


def read_items(system: msgspec.Raw | None, messages: msgspec.Raw) -> list[Item]:
    """The conversation, its ``system`` first; WireError that names the place of what is wrong."""
    items: list[Item] = []
    where = "system"
    try:
        if system is not None and bytes(memoryview(system)[:4]) != b"null":
            items.append(Item(type="message", role="system", content=_content(system)))
        where = "messages"
        for number, message in enumerate(_messages(messages)):
            where = f"messages.{number}.content"
            content = message.content
            if isinstance(content, str):
                text = msgspec.Raw(_encode(content))
                items.append(Item(type="message", role=message.role, content=text))
            elif message.role == "assistant":
                _said(content, items)
            else:
                _asked(message.role, content, items)
    except msgspec.DecodeError as e:
        found = _AT.match(str(e))
        what, path = found.groups() if found else (str(e), "")
        raise WireError(f"{where}{path}: {what}", param=f"{where}{path}") from None
    return items


def _asked(role: str, blocks: list[_Block], items: list[Item]) -> None:
    parts: list[bytes] = []
    rest: list[_Block] = []
    for block in blocks:
        if block.type == "tool_result":
            items.append(
                Item(
                    type="function_call_output",
                    call_id=block.tool_use_id,
                    output=_content(block.content),
                    failed=bool(block.is_error),
                )
            )
        else:
            rest.append(block)
    if len(rest) == 1 and rest[0].type == "text" and is_text(rest[0].text):
        items.append(Item(type="message", role=role, content=rest[0].text))
    elif parts := [_part(block) for block in rest]:
        items.append(Item(type="message", role=role, content=_list(parts)))


def _said(blocks: list[_Block], items: list[Item]) -> None:
    texts: list[msgspec.Raw] = []

    def speak() -> None:
        if len(texts) == 1:
            items.append(Item(type="message", role="assistant", content=texts[0]))
        elif texts:
            parts = [b'{"type":"output_text","text":%b}' % t for t in texts]
            items.append(Item(type="message", role="assistant", content=_list(parts)))
        texts.clear()

    for block in blocks:
        kind = block.type
        if kind == "text":
            if is_text(block.text):
                texts.append(block.text)
            continue
        if kind == "tool_use":
            speak()
            given = bytes(block.input).decode() or "{}"
            items.append(
                Item(
                    type="function_call",
                    call_id=block.id,
                    name=block.name,
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
            texts.append(msgspec.Raw(_encode(_stated(block))))
    speak()


def _content(content: msgspec.Raw) -> msgspec.Raw:
    """Text or a list of parts, as the Responses API has it."""
    if is_text(content):
        return content
    if not memoryview(content).nbytes or bytes(content) == b"null":
        return _EMPTY
    blocks = _blocks(content)
    if len(blocks) == 1 and blocks[0].type == "text" and is_text(blocks[0].text):
        return blocks[0].text
    return _list([_part(block) for block in blocks])


def _list(parts: list[bytes]) -> msgspec.Raw:
    return msgspec.Raw(b"[%b]" % b",".join(parts))


def _part(block: _Block) -> bytes:
    if block.type == "text" and is_text(block.text):
        return b'{"type":"input_text","text":%b}' % block.text
    source = block.source
    if block.type == "image" and source is not None:
        if source.type == "base64" and is_text(source.data):
            return b'{"type":"input_image","image_url":%b}' % _data_url(source)
        if is_text(source.url):
            return b'{"type":"input_image","image_url":%b}' % source.url
    if block.type == "document" and source is not None:
        if source.type == "text" and is_text(source.data):
            return b'{"type":"input_text","text":%b}' % source.data
        if source.type == "base64" and is_text(source.data):
            name = _encode(block.title or "document.pdf")
            data = _data_url(source)
            return b'{"type":"input_file","filename":%b,"file_data":%b}' % (name, data)
        if is_text(source.url):
            return b'{"type":"input_file","file_url":%b}' % source.url
    return b'{"type":"input_text","text":%b}' % _encode(_stated(block))


def _data_url(source: _Source) -> bytes:
    kind = _encode(source.media_type or "application/octet-stream")[1:-1]
    return b"".join((b'"data:', kind, b";base64,", memoryview(source.data)[1:]))


def _stated(block: _Block) -> str:
    """A block nobody else knows, in words."""
    if is_text(block.text):
        return text_of(block.text)
    content = block.content
    if memoryview(content).nbytes and not is_text(content):
        try:
            texts = [text_of(b.text) for b in _blocks(content) if is_text(b.text)]
        except msgspec.ValidationError:
            texts = []
        if texts:
            return "\n".join(texts)
    named = block.name or block.tool_name
    name = f" {named}" if named else ""
    return f"[{block.type or 'block'}{name}]"
