"""The strings in JSON that a person or a model wrote, and where they stand.

Whatever looks for something in a request, or masks it, sees every string that `string_leaves`
yields, also in blocks that nobody here knows. What is left out is the protocols' own: ids, kinds,
data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

#: From the value that is looked at down to a string: fields and indices. A field's own name is
#: the last step, in a tuple.
Path = tuple[Any, ...]

#: Fields that hold ids or words of a protocol, which must be what they are.
MACHINE = frozenset(
    {
        "type",
        "id",
        "call_id",
        "tool_call_id",
        "tool_use_id",
        "item_id",
        "response_id",
        "file_id",
        "container_id",
        "approval_request_id",
        "encrypted_index",
        "signature",
        "thought_signature",
        "role",
        "status",
        "phase",
        "media_type",
    }
)
#: An upstream's own state; in words only where a model has written it that knows of none.
STATE = frozenset({"encrypted_content"})
#: Objects whose fields are a tool's, whatever they are called.
FREE = frozenset({"arguments", "input"})
#: Fields of a tool's definition that hold values of its own, whatever their fields are called.
VALUES = frozenset({"default", "enum", "const", "examples", "example", "input_examples"})
#: Fields of data in Base64, and of addresses, which may hold data.
_BASE64 = frozenset({"data", "file_data", "b64_json", "partial_image_b64", "result"})
_ADDRESSES = frozenset({"image_url", "url", "file_data", "file_url", "video_url", "data"})
#: Fields of words, of which none is too long.
_TEXTS = frozenset({"text", "content", "output", "input", "arguments", "thinking"})
_DATA = re.compile(r"data:[\w.+/-]*(?:;[\w=.-]+)*;base64,")
_BLOB = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_ENCODED = re.compile(r"[A-Za-z0-9+/_\r\n-]+={0,2}\s*")
#: Words are never so long without a blank; those in a field of Base64 hardly so long.
_LONG, _LONG_BASE64 = 512, 64
_SHORTEST_STATE, LONG_STATE = 24, 100
_FIELD = re.compile(r"[a-z$@][a-zA-Z_]{0,30}")


class Leaf(msgspec.Struct, gc=False):
    """One string: where it is, the object that holds it, its field's name and the text itself.
    ``free``: it is a part of a call's arguments."""

    path: Path
    holder: dict[str, Any] | None
    field: str
    text: str
    free: bool

    @property
    def is_name(self) -> bool:
        """Whether it is the name of a field."""
        return bool(self.path) and isinstance(self.path[-1], tuple)


def string_leaves(
    value: Any, *, free: bool = False, values: frozenset[str] = frozenset()
) -> Iterator[Leaf]:
    """The strings of decoded JSON, in their order. ``arguments`` come as the JSON they are;
    ``values`` are more fields whose objects are a tool's."""
    entries: Iterator[tuple[Any, Any]] = iter((("", value),))
    path: Path = ()
    holder, field, in_object = None, "", False
    above: list[tuple[Any, ...]] = []
    while True:
        for step, inner in entries:
            if in_object:
                field = step
                if (free or not is_plain(step)) and step:
                    yield Leaf((*path, (step,)), holder, step, step, True)
            kind = type(inner)
            if kind is str:
                is_machine = not free and field in MACHINE
                if not is_machine and not is_data(inner, field, holder, free=free):
                    yield Leaf((*path, step) if above else (), holder, field, inner, free)
            elif kind is dict or kind is list:
                above.append((entries, path, holder, field, in_object, free))
                path = (*path, step) if len(above) > 1 else ()
                free = free or (in_object and field in values)
                if kind is dict:
                    free = free or (in_object and field in FREE)
                    entries, holder, in_object = iter(inner.items()), inner, True
                else:
                    entries, in_object = enumerate(inner), False
                break
        else:
            if not above:
                return
            entries, path, holder, field, in_object, free = above.pop()


@lru_cache(maxsize=4096)
def is_plain(name: str) -> bool:
    """Whether the name of a field can be no more than that."""
    return _FIELD.fullmatch(name) is not None


def is_data(text: str, field: str, holder: dict[str, Any] | None, *, free: bool) -> bool:
    """Whether a string is a picture, a file or an upstream's state, not words."""
    if text[:5] == "data:" and ((field in _ADDRESSES and not free) or _DATA.match(text)):
        return True
    if free or field in _TEXTS:
        return False
    if len(text) >= _LONG and _BLOB.fullmatch(text):
        return True
    if field in STATE:
        return len(text) >= LONG_STATE and not is_plain_words(text)
    if field in _BASE64:
        kind = holder.get("type") if holder is not None else None
        long = kind == "base64" or (kind != "text" and len(text) >= _LONG_BASE64)
        return long and _ENCODED.fullmatch(text) is not None
    return False


def is_plain_words(text: str) -> bool:
    """Whether what stands for a state is none: a blank is in it, or it is too short for one."""
    return " " in text or "\n" in text or "\t" in text or len(text) < _SHORTEST_STATE
