"""Turns that refer to stored conversations, made into turns that hold them.

Items are spliced as bytes: the conversation is neither decoded nor written anew.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ..json_text import load, split
from ..turn import Turn, WireError, is_text
from ..wire.reasoning import unpack

#: The provider under whose name summaries of ours are packed: any upstream may read them.
OWNER = "interpose"
#: How a summary is introduced to the model that goes on from it.
_INTRODUCTION = "The conversation so far was summarised to make room. The summary:\n\n"
_PATH = re.compile(r"/responses/([^/?]+)(/input_items)?/?$")
#: Never found inside a text, where the quotes would be escaped.
_MARKS = (b'"compaction"', b'"compaction_summary"')


class _Head(msgspec.Struct):
    type: str | None = None
    encrypted_content: msgspec.Raw = msgspec.Raw()


_head = msgspec.json.Decoder(_Head).decode


def stored(path: str) -> tuple[str, bool] | None:
    """The response id in ``path``, and whether its input items are meant; None for other paths."""
    found = _PATH.search(path.partition("?")[0])
    if found is None or found[1] == "compact":
        return None
    return found[1], bool(found[2])


def is_compact(path: str) -> bool:
    """Whether ``path`` is the endpoint that compacts a conversation."""
    return path.partition("?")[0].rstrip("/").endswith("/responses/compact")


def inner(raw: bytes | msgspec.Raw) -> bytes:
    """The items of an ``input`` or ``output``, as JSON without the brackets around them."""
    text = bytes(raw).strip()
    if text[:1] == b'"':
        return b'{"type":"message","role":"user","content":%b}' % text
    if text[:1] != b"[":
        raise WireError("input must be a string or a list of items", param="input")
    return text[1:-1].strip()


def previous(turn: Turn) -> str | None:
    """The response that ``turn`` continues; WireError for forms that nobody here can serve."""
    id: str | None = turn.setting("previous_response_id")
    return id


def refuse_conversation(turn: Turn) -> None:
    """WireError when ``turn`` belongs to a conversation object, which only OpenAI itself has."""
    if turn.setting("conversation") is not None:
        raise WireError(
            "conversation is not served for this model; use previous_response_id",
            param="conversation",
        )


def is_stored(turn: Turn) -> bool:
    """Whether the client wants the answer to be stored: it does unless it says otherwise."""
    return turn.setting("store", True) is not False


def with_items(turn: Turn, pieces: list[bytes], **fields: Any) -> Turn:
    """``turn`` with these items as its input, and ``fields`` instead of its own; None drops one."""
    kept = dict(turn.fields)
    kept.pop("previous_response_id", None)
    kept["input"] = msgspec.Raw(b"[%b]" % b",".join([p for p in pieces if p]))
    for name, value in fields.items():
        kept.pop(name, None)
        if value is not None:
            kept[name] = msgspec.Raw(msgspec.json.encode(value))
    return Turn(msgspec.json.encode(kept), kept)


def readable(turn: Turn) -> Turn:
    """``turn`` with each summary of ours as a message that any model can read."""
    raw = turn.fields.get("input", msgspec.Raw())
    if not _may_compact(turn.body) or is_text(raw):
        return turn
    pieces = [bytes(item) for item in split(raw, "input")]
    changed = False
    for at, piece in enumerate(pieces):
        if (text := summary(piece)) is not None:
            changed = True
            pieces[at] = msgspec.json.encode(
                {"type": "message", "role": "user", "content": _INTRODUCTION + text}
            )
    if not changed:
        return turn
    kept = turn.setting("previous_response_id")
    return with_items(turn, pieces, **({"previous_response_id": kept} if kept else {}))


def summary(item: bytes) -> str | None:
    """The text of a compaction item of ours; None for any other item."""
    if not _may_compact(item):
        return None
    try:
        head = load(item, "", _head)
    except WireError:
        return None
    if head.type not in ("compaction", "compaction_summary"):
        return None
    text = unpack(head.encrypted_content, OWNER)[0].get("summary")
    return text if isinstance(text, str) else None


def _may_compact(data: bytes) -> bool:
    # One search of what is mostly a long body; only where it finds something, the exact ones.
    return b'"compaction' in data and any(mark in data for mark in _MARKS)
