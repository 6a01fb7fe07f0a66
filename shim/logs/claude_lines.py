"""The lines of Claude Code's transcripts: nodes of a tree of messages, and logged requests."""

from __future__ import annotations

import msgspec

from ..turn import Usage, is_text
from .lines import seconds

_NOTHING = msgspec.Raw()
#: The model's name in answers that Claude Code wrote itself.
_SYNTHETIC = "<synthetic>"


class Line(msgspec.Struct, rename="camel"):
    """A line of a transcript, of any type."""

    type: str | None = None
    subtype: str | None = None
    uuid: str | None = None
    parent_uuid: str | None = None
    logical_parent_uuid: str | None = None
    is_sidechain: bool | None = None
    agent_id: str | None = None
    timestamp: str | None = None
    message: msgspec.Raw = _NOTHING
    request_id: str | None = None
    request_ref: str | None = None
    requested_model: str | None = None
    api_block_index: int | None = None
    is_compact_summary: bool | None = None
    is_visible_in_transcript_only: bool | None = None
    is_api_error_message: bool | None = None
    attachment: msgspec.Raw = _NOTHING
    rendered: msgspec.Raw = _NOTHING
    compact_metadata: msgspec.Raw = _NOTHING


class Message(msgspec.Struct):
    """What was said, by either side."""

    role: str | None = None
    content: msgspec.Raw = _NOTHING
    id: str | None = None
    model: str | None = None
    usage: msgspec.Raw = _NOTHING


class Block(msgspec.Struct):
    """A block of content: what must be known of it, and its JSON. ``attached`` is what Claude Code
    itself added."""

    type: str | None = None
    id: str | None = None
    tool_use_id: str | None = None
    raw: bytes = b""
    attached: bool = False


class _Thinking(msgspec.Struct):
    thinking_tokens: int = 0


class _Tokens(msgspec.Struct):
    input_tokens: int = 0
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int = 0
    output_tokens_details: _Thinking | None = None

    def usage(self) -> Usage:
        read, written = self.cache_read_input_tokens or 0, self.cache_creation_input_tokens or 0
        thought = self.output_tokens_details.thinking_tokens if self.output_tokens_details else 0
        whole = self.input_tokens + read + written
        return Usage(whole, read, written, self.output_tokens, thought)


class _Rendered(msgspec.Struct):
    content: str | None = None


class _Attachment(msgspec.Struct, rename="camel"):
    type: str | None = None
    system_prompt: list[str] | None = None


class _Segment(msgspec.Struct, rename="camel"):
    head_uuid: str | None = None
    tail_uuid: str | None = None


class _Compacted(msgspec.Struct, rename="camel"):
    preserved_segment: _Segment | None = None


class Node(msgspec.Struct):
    """A line of the tree. ``kind`` is user, assistant, system, boundary or "" for what no request
    holds; ``kept`` are the first and last line that a compaction left as they were."""

    number: int
    kind: str
    uuid: str
    parent: str | None
    sidechain: bool
    agent: str | None
    when: float | None
    blocks: list[Block] = []
    #: What all lines of one answer have in common.
    answer: str = ""
    ref: str = ""
    place: int | None = None
    model: str | None = None
    usage: Usage | None = None
    summary: bool = False
    kept: tuple[str | None, str | None] | None = None
    #: An attachment whose text is not in the log.
    unseen: bool = False


def node(number: int, line: Line) -> Node | None:
    """The node that a line is; None for none. A msgspec error where it is damaged."""
    if not line.uuid:
        return None
    found = Node(
        number,
        "",
        line.uuid,
        line.parent_uuid or line.logical_parent_uuid,
        bool(line.is_sidechain),
        line.agent_id,
        seconds(line.timestamp),
    )
    if line.type == "attachment":
        _attached(found, line)
    elif line.type == "system" and line.subtype == "compact_boundary":
        found.kind = "boundary"
        if _there(line.compact_metadata):
            told = msgspec.json.decode(line.compact_metadata, type=_Compacted)
            if told.preserved_segment:
                found.kept = told.preserved_segment.head_uuid, told.preserved_segment.tail_uuid
    elif line.type in ("user", "assistant") and _there(line.message):
        message = msgspec.json.decode(line.message, type=Message)
        if line.is_api_error_message or message.model == _SYNTHETIC:
            return found
        if line.is_visible_in_transcript_only and not line.is_compact_summary:
            return found
        found.blocks = blocks(message.content)
        found.kind = line.type
        found.summary = bool(line.is_compact_summary)
        if line.type == "assistant":
            found.answer = line.request_ref or line.request_id or message.id or line.uuid
            found.ref = line.request_ref or ""
            found.place = line.api_block_index
            found.model = line.requested_model or message.model
            if _there(message.usage):
                found.usage = msgspec.json.decode(message.usage, type=_Tokens).usage()
    return found


def blocks(content: msgspec.Raw) -> list[Block]:
    """The blocks of a message's content; a plain string is one block of text."""
    if not _there(content):
        return []
    if is_text(content):
        return [Block("text", raw=b'{"type":"text","text":%s}' % bytes(content))]
    found = []
    for raw in msgspec.json.decode(content, type=list[msgspec.Raw]):
        block = msgspec.json.decode(raw, type=Block)
        block.raw = bytes(raw)
        found.append(block)
    return found


def text_block(text: str) -> Block:
    """A block of text."""
    return Block("text", raw=b'{"type":"text","text":%s}' % msgspec.json.encode(text))


def _attached(found: Node, line: Line) -> None:
    attachment = _Attachment()
    if _there(line.attachment):
        attachment = msgspec.json.decode(line.attachment, type=_Attachment)
    if attachment.system_prompt:
        found.kind = "system"
        found.blocks = [text_block("\n\n".join(attachment.system_prompt))]
    elif _there(line.rendered):
        pieces = msgspec.json.decode(line.rendered, type=list[_Rendered])
        found.kind = "user"
        found.blocks = [text_block(piece.content) for piece in pieces if piece.content]
        for block in found.blocks:
            block.attached = True
    else:
        found.unseen = True


def _there(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", b"null")
