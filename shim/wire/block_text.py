"""What nobody on the other side knows, in words: a block with all that can be read in it."""

from __future__ import annotations

import msgspec

from ..json_text import load
from ..strings import is_plain_words, string_leaves
from ..turn import Part, is_text, text_of

#: What a block is called, and what a reader wants first.
_NAMES = ("name", "tool_name")
_FIRST = ("title", "filename", "source", "url", "context")


def block_text(raw: msgspec.Raw, place: str = "") -> str:
    """``raw``, a block of a kind that an upstream does not know, as text. WireError when it cannot
    be read."""
    value = load(raw, place)
    if not isinstance(value, dict):
        return value if isinstance(value, str) else bytes(raw).decode()
    leaves = [leaf for leaf in string_leaves(value) if not leaf.is_name and leaf.text.strip()]
    first = {leaf.field: leaf.text for leaf in leaves if len(leaf.path) == 1}
    texts = [
        leaf.text for leaf in leaves if len(leaf.path) > 1 or leaf.field not in (*_NAMES, *_FIRST)
    ]
    if value.keys() <= {"type", "text"} and texts:
        return "\n".join(texts)
    kind = value.get("type")
    called = [kind if isinstance(kind, str) else "block"]
    called += [first[name] for name in _NAMES if name in first]
    head = [" ".join(called), *(f"{name}: {first[name]}" for name in _FIRST if name in first)]
    return "\n".join([f"[{'; '.join(head)}]", *texts])


def agent_text(part: Part) -> str | None:
    """What an agent has told another one, where it is no provider's own state: the model that wrote
    it knew of none."""
    text = text_of(part.encrypted_content) if is_text(part.encrypted_content) else ""
    return text if is_plain_words(text) else None
