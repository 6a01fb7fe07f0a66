"""What nobody on the other side knows, in words: a block with all that can be read in it."""

from __future__ import annotations

import msgspec

from ..json_text import load
from ..strings import is_words, spots
from ..turn import Part, is_text, text_of

#: What a block is called, and what a reader wants first.
_NAMES = ("name", "tool_name")
_FIRST = ("title", "filename", "source", "url", "context")


def stated(raw: msgspec.Raw, place: str = "") -> str:
    """``raw``, a block of a kind that an upstream does not know, as text. WireError when it cannot
    be read."""
    value = load(raw, place)
    if not isinstance(value, dict):
        return value if isinstance(value, str) else bytes(raw).decode()
    found = [spot for spot in spots(value) if not spot.is_name and spot.text.strip()]
    first = {spot.field: spot.text for spot in found if len(spot.path) == 1}
    texts = [
        spot.text for spot in found if len(spot.path) > 1 or spot.field not in (*_NAMES, *_FIRST)
    ]
    if value.keys() <= {"type", "text"} and texts:
        return "\n".join(texts)
    kind = value.get("type")
    called = [kind if isinstance(kind, str) else "block"]
    called += [first[name] for name in _NAMES if name in first]
    head = [" ".join(called), *(f"{name}: {first[name]}" for name in _FIRST if name in first)]
    return "\n".join([f"[{'; '.join(head)}]", *texts])


def words_of(part: Part) -> str | None:
    """What an agent has told another one, where it is no provider's own state: the model that wrote
    it knew of none."""
    text = text_of(part.encrypted_content) if is_text(part.encrypted_content) else ""
    return text if is_words(text) else None
