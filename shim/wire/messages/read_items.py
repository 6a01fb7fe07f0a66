"""The messages of a Messages request as items. Source: Anthropic's API reference (messages).

Strategy: a block becomes an item, or a part of one, in its place; results of tools come before
what the user says in the same message. Long texts and data are never decoded. All messages are read
at once; where one holds anything unknown, each is read by itself, and the odd ones field by field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ...json_text import WireError, load, members, split
from ...turn import Item, is_absent, is_text
from ...untranslated import Untranslated
from ..block_text import block_text

_NONE = msgspec.Raw()


class _Source(msgspec.Struct, gc=False):
    type: str | None = None
    media_type: str | None = None
    data: msgspec.Raw = _NONE
    url: msgspec.Raw = _NONE
    content: msgspec.Raw = _NONE


class _Block(msgspec.Struct, gc=False, forbid_unknown_fields=True, tag_field="type"):
    """A block: what is read of its kind, and here what no other protocol has a word for."""

    cache_control: msgspec.Raw = _NONE
    citations: msgspec.Raw = _NONE
    caller: msgspec.Raw = _NONE


class _Text(_Block, gc=False, tag="text"):
    text: msgspec.Raw = _NONE


class _Image(_Block, gc=False, tag="image"):
    source: msgspec.Raw = _NONE


class _Document(_Block, gc=False, tag="document"):
    source: msgspec.Raw = _NONE
    title: msgspec.Raw = _NONE


class _ToolUse(_Block, gc=False, tag="tool_use"):
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = _NONE


class _ToolResult(_Block, gc=False, tag="tool_result"):
    tool_use_id: str | None = None
    content: msgspec.Raw = _NONE
    is_error: bool | None = None


class _Thinking(_Block, gc=False, tag="thinking"):
    thinking: msgspec.Raw = _NONE
    signature: msgspec.Raw = _NONE


class _RedactedThinking(_Block, gc=False, tag="redacted_thinking"):
    data: msgspec.Raw = _NONE


_Known = _Text | _Image | _Document | _ToolUse | _ToolResult | _Thinking | _RedactedThinking


class _Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: str
    content: str | list[_Known]


class _OddMessage(msgspec.Struct, gc=False):
    role: str
    content: str | list[msgspec.Raw]


_messages = msgspec.json.Decoder(list[_Message]).decode
_message = msgspec.json.Decoder(_Message).decode
_odd_message = msgspec.json.Decoder(_OddMessage).decode
_blocks = msgspec.json.Decoder(list[_Known]).decode
_source = msgspec.json.Decoder(_Source).decode
_text = msgspec.json.Decoder(str | None).decode
_KNOWN_FIELDS = frozenset(_Message.__struct_fields__)
_UNTRANSLATED = _Block.__struct_fields__
#: By its type, what is read of a block, and its decoder.
_KINDS: dict[Any, tuple[frozenset[str], Callable[[Any], Any]]] = {
    str(kind.__struct_config__.tag): (
        frozenset({"type", *kind.__struct_fields__}),
        msgspec.json.Decoder(kind).decode,
    )
    for kind in _Known.__args__
}
#: What is more than its text: in an assistant's message, and anywhere else.
_OF_ASSISTANTS = frozenset({"text", "tool_use", "thinking", "redacted_thinking"})
_OF_OTHERS = frozenset({"text", "tool_result", "image", "document"})
_OF_CONTENT = _OF_OTHERS - {"tool_result"}
_BETWEEN_TEXTS = (_ToolUse, _Thinking, _RedactedThinking)
_encode = msgspec.json.encode
_EMPTY = msgspec.Raw(b'""')
_NULL = msgspec.Raw(b"null")


def read_items(
    system: msgspec.Raw | None, messages: msgspec.Raw, untranslated: Untranslated
) -> list[Item]:
    """The conversation, its ``system`` first; WireError that names the place of what is wrong.

    ``untranslated`` gets the places of what is left out.
    """
    items: list[Item] = []
    if system is not None and not is_absent(system):
        content = _content(system, "system", untranslated)
        items.append(Item(type="message", role="system", content=content))
    try:
        whole = _messages(messages)
    except (msgspec.DecodeError, RecursionError):
        for number, raw in enumerate(split(messages, "messages")):
            _read_message(raw, number, items, untranslated)
        return items

    def raws() -> list[msgspec.Raw]:
        return split(members(split(messages)[number])["content"])

    for number, message in enumerate(whole):
        _add(message.role, message.content, number, raws, items, untranslated)
    return items


def _read_message(
    raw: msgspec.Raw, number: int, items: list[Item], untranslated: Untranslated
) -> None:
    """Add the items of a message that may hold anything."""
    try:
        message = _message(raw)
    except (msgspec.DecodeError, RecursionError):
        pass
    else:
        content, role = message.content, message.role
        _add(role, content, number, lambda: split(members(raw)["content"]), items, untranslated)
        return
    place = f"messages[{number}]"
    odd = load(raw, place, _odd_message)
    untranslated.add(members(raw), _KNOWN_FIELDS, place)
    given = odd.content
    if not isinstance(given, str):
        kinds = _OF_ASSISTANTS if odd.role == "assistant" else _OF_OTHERS
        given = _odd_blocks(given, f"{place}.content", kinds, untranslated)
    _add(odd.role, given, number, lambda: odd.content, items, untranslated)


def _odd_blocks(
    raws: list[msgspec.Raw], place: str, kinds: frozenset[str], untranslated: Untranslated
) -> list[_Block]:
    """The blocks of a list that may hold anything: those of the ``kinds``, without what is unknown
    in them; all others are put into words."""
    blocks: list[_Block] = []
    for number, raw in enumerate(raws):
        block_place = f"{place}[{number}]"
        fields = members(raw, block_place)
        kind = load(fields.get("type", _NULL), f"{block_place}.type", _text)
        if kind not in _KINDS:
            blocks.append(_Block())
            continue
        known, decode = _KINDS[kind]
        untranslated.add(fields, known, block_place)
        if kind in kinds:
            fields = {name: field for name, field in fields.items() if name in known}
            blocks.append(load(_encode(fields), block_place, decode))
        else:
            blocks.append(_Block())
    return blocks


class _Blocks:
    """The blocks of a list; ``place`` is where it is, or the number of its message, and ``raws``
    gives them as they came."""

    __slots__ = ("_place", "_raws", "all")

    def __init__(
        self, blocks: list[_Block], place: str | int, raws: Callable[[], list[msgspec.Raw]]
    ) -> None:
        self.all = blocks
        self._place = place
        self._raws = raws

    def place(self, number: int) -> str:
        """Where a block is."""
        place = self._place
        if isinstance(place, int):
            place = f"messages[{place}].content"
        return f"{place}[{number}]"

    def text(self, number: int) -> msgspec.Raw:
        """The text of a block of text."""
        block = self.all[number]
        assert isinstance(block, _Text)
        if not is_text(block.text):
            place = f"{self.place(number)}.text"
            raise WireError(f"{place} must be a string", param=place)
        return block.text

    def words(self, number: int) -> bytes:
        """A block that nobody else knows, in words, as JSON."""
        return _encode(block_text(self._raws()[number], self.place(number)))

    def note(self, number: int, untranslated: Untranslated) -> None:
        """Note what is known of a block to have no counterpart."""
        block = self.all[number]
        fields = {name: getattr(block, name) for name in _UNTRANSLATED}
        fields = {name: raw for name, raw in fields.items() if raw is not _NONE}
        untranslated.add(fields, frozenset(), self.place(number))


def _add(
    role: str,
    content: str | list[Any],
    number: int,
    raws: Callable[[], list[msgspec.Raw]],
    items: list[Item],
    untranslated: Untranslated,
) -> None:
    """Add the items of message ``number``."""
    if isinstance(content, str):
        text = msgspec.Raw(_encode(content))
        items.append(Item(type="message", role=role, content=text, at=number))
        return
    blocks = _Blocks(content, number, raws)
    for n, block in enumerate(content):
        if not (block.cache_control is block.citations is block.caller):
            blocks.note(n, untranslated)
    if role == "assistant":
        _add_said(blocks, number, items)
        return
    rest: list[int] = []
    for n, block in enumerate(content):
        if type(block) is not _ToolResult:
            rest.append(n)
            continue
        output = block.content
        if not is_text(output):
            output = _content(output, f"{blocks.place(n)}.content", untranslated)
        items.append(
            Item(
                type="function_call_output",
                call_id=block.tool_use_id,
                output=output,
                failed=block.is_error is True,
                at=number,
            )
        )
    if rest:
        items.append(Item(type="message", role=role, content=_parts(blocks, rest), at=number))


def _add_said(blocks: _Blocks, number: int, items: list[Item]) -> None:
    """Add the items of what an assistant has said in message ``number``."""
    texts: list[msgspec.Raw] = []
    for n, block in enumerate(blocks.all):
        kind = type(block)
        if kind is _Text:
            texts.append(blocks.text(n))
            continue
        if kind not in _BETWEEN_TEXTS:
            # What a server did in mid-answer: its readable part is all another upstream can use.
            texts.append(msgspec.Raw(blocks.words(n)))
            continue
        if texts:
            _speak(texts, number, items)
        if isinstance(block, _ToolUse):
            given = bytes(block.input).decode() or "{}"
            items.append(
                Item(
                    type="function_call",
                    call_id=block.id,
                    name=block.name,
                    arguments=msgspec.Raw(_encode(given)),
                    at=number,
                )
            )
        elif isinstance(block, _Thinking):
            summary = b""
            if is_text(block.thinking):
                summary = b'{"type":"summary_text","text":%b}' % block.thinking
            items.append(
                Item(
                    type="reasoning",
                    summary=msgspec.Raw(b"[%b]" % summary),
                    encrypted_content=block.signature,
                    at=number,
                )
            )
        elif isinstance(block, _RedactedThinking):
            items.append(Item(type="reasoning", encrypted_content=block.data, at=number))
    if texts:
        _speak(texts, number, items)


def _speak(texts: list[msgspec.Raw], number: int, items: list[Item]) -> None:
    """Add what was said so far as one message."""
    content = texts[0]
    if len(texts) > 1:
        content = _list([b'{"type":"output_text","text":%b}' % text for text in texts])
    items.append(Item(type="message", role="assistant", content=content, at=number))
    texts.clear()


def _content(content: msgspec.Raw, place: str, untranslated: Untranslated) -> msgspec.Raw:
    """Text or a list of parts, as the Responses API has it."""
    if is_text(content):
        return content
    if is_absent(content):
        return _EMPTY
    try:
        given: list[_Block] = [*_blocks(content)]
    except (msgspec.DecodeError, RecursionError):
        if bytes(memoryview(content)[:1]) != b"[":
            message = f"{place} must be a string or a list of blocks"
            raise WireError(message, param=place) from None
        given = _odd_blocks(split(content, place), place, _OF_CONTENT, untranslated)
    blocks = _Blocks(given, place, lambda: split(content))
    for n, block in enumerate(given):
        if not (block.cache_control is block.citations is block.caller):
            blocks.note(n, untranslated)
    return _parts(blocks, range(len(given)))


def _parts(blocks: _Blocks, numbers: Sequence[int]) -> msgspec.Raw:
    if len(numbers) == 1 and type(blocks.all[numbers[0]]) is _Text:
        return blocks.text(numbers[0])
    return _list([_part(blocks, n) for n in numbers])


def _list(parts: list[bytes]) -> msgspec.Raw:
    return msgspec.Raw(b"[%b]" % b",".join(parts))


def _part(blocks: _Blocks, number: int) -> bytes:
    block = blocks.all[number]
    if isinstance(block, _Text):
        return b'{"type":"input_text","text":%b}' % blocks.text(number)
    part = None
    if isinstance(block, _Image | _Document):
        place = blocks.place(number)
        source = load(bytes(block.source) or b"null", f"{place}.source", _source)
        if isinstance(block, _Image):
            part = _image(source)
        else:
            part = _document(block, source, place)
    return part or b'{"type":"input_text","text":%b}' % blocks.words(number)


def _image(source: _Source) -> bytes | None:
    if source.type == "base64" and is_text(source.data):
        return b'{"type":"input_image","image_url":%b}' % _data_url(source)
    if is_text(source.url):
        return b'{"type":"input_image","image_url":%b}' % source.url
    return None


def _document(block: _Document, source: _Source, place: str) -> bytes | None:
    if source.type == "base64" and is_text(source.data):
        title = load(bytes(block.title) or b"null", f"{place}.title", _text)
        name = _encode(title or "document.pdf")
        return b'{"type":"input_file","filename":%b,"file_data":%b}' % (name, _data_url(source))
    if is_text(source.url):
        return b'{"type":"input_file","file_url":%b}' % source.url
    return None


def _data_url(source: _Source) -> bytes:
    kind = _encode(source.media_type or "application/octet-stream")[1:-1]
    return b"".join((b'"data:', kind, b";base64,", memoryview(source.data)[1:]))
