"""A conversation that moved here: what the chain packed into it for another upstream is left out.

Where client and upstream speak the same protocol the bytes pass, and with them would go the packed
reasoning (`reasoning.py`) of an upstream that was translated before. Nobody can read it there, and
OpenAI and Anthropic refuse a request with a signature that is not theirs.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..json_text import members, split
from .reasoning import MARK

_MARK = MARK.encode()
_PACKED = b'"' + _MARK
_encode = msgspec.json.encode

#: An entry of a list, cleaned; None: nothing of it is left.
_Clean = Callable[[msgspec.Raw], msgspec.Raw | None]


def leave_out(fields: dict[str, msgspec.Raw], protocol: str, body: bytes) -> None:
    """Take other upstreams' packed reasoning out of ``fields``, those of the request ``body``."""
    if _MARK not in body:
        return
    name, clean = _HISTORY[protocol]
    if name in fields:
        fields[name] = _each(fields[name], clean) or msgspec.Raw(b"[]")


def _each(raw: msgspec.Raw, clean: _Clean) -> msgspec.Raw | None:
    """``raw`` with each entry cleaned, itself when it is no array; None when nothing is left."""
    if bytes(memoryview(raw)[:1]) != b"[":
        return raw
    entries = split(raw)
    kept = [clean(entry) if _MARK in bytes(entry) else entry for entry in entries]
    if all(new is old for new, old in zip(kept, entries, strict=True)):
        # The mark may stand in any text.
        return raw
    left = [entry for entry in kept if entry is not None]
    return msgspec.Raw(_encode(left)) if left else None


def _unless(*names: str) -> _Clean:
    """An entry, unless one of its fields ``names`` is packed."""

    def clean(raw: msgspec.Raw) -> msgspec.Raw | None:
        fields = _fields(raw)
        packed = any(bytes(fields.get(name, b"")).startswith(_PACKED) for name in names)
        return None if packed else raw

    return clean


def _fields(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    return members(raw) if bytes(memoryview(raw)[:1]) == b"{" else {}


def _message(raw: msgspec.Raw) -> msgspec.Raw | None:
    """A message of Messages; gone when it held nothing else, as an empty one is refused."""
    return _within(raw, "content", _unless("signature", "data"), keep_empty=False)


def _chat_message(raw: msgspec.Raw) -> msgspec.Raw | None:
    return _within(raw, "reasoning_details", _unless("data"), keep_empty=True)


def _within(raw: msgspec.Raw, name: str, clean: _Clean, *, keep_empty: bool) -> msgspec.Raw | None:
    """``raw`` with the list ``name`` cleaned; without it, or gone itself, when nothing is left."""
    fields = _fields(raw)
    if name not in fields:
        return raw
    left = _each(fields[name], clean)
    if left is None:
        del fields[name]
        return msgspec.Raw(_encode(fields)) if keep_empty else None
    if left is fields[name]:
        return raw
    return msgspec.Raw(_encode({**fields, name: left}))


#: Per protocol: the field of the conversation, and how one of its entries is cleaned.
_HISTORY: dict[str, tuple[str, _Clean]] = {
    "responses": ("input", _unless("encrypted_content")),
    "messages": ("messages", _message),
    "chat": ("messages", _chat_message),
}
