"""The strings in JSON that a person or a model wrote, where they stand: what masks may go into.

Ids, names of kinds and data are machine matter, except inside a call's own arguments, where every
name is the tool's and may hold anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

#: Fields that hold ids, names or machine data: a mask there would break the request.
_KEPT = frozenset(
    {
        "type",
        "id",
        "call_id",
        "tool_call_id",
        "tool_use_id",
        "name",
        "namespace",
        "role",
        "status",
        "phase",
        "encrypted_content",
        "signature",
        "reasoning_details",
        "data",
        "file_data",
        "image_url",
        "url",
        "media_type",
    }
)
#: Objects whose fields are a tool's.
_FREE = frozenset({"arguments", "input"})
_DATA = re.compile(r"data:[\w.+/-]*(?:;[\w=.-]+)*;base64,")
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],]', re.DOTALL)


def value_of(raw: bytes | msgspec.Raw) -> Any:
    """The value of JSON, half a surrogate in it or not. ValueError where it is none."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError):
        return json.loads(bytes(raw))


def written(text: str) -> bytes:
    """``text`` as a JSON string."""
    try:
        return msgspec.json.encode(text)
    except UnicodeError:
        return json.dumps(text).encode()


def is_json(data: bytes) -> bool:
    """Whether ``data`` can be read."""
    try:
        value_of(data)
    except ValueError:
        return False
    return True


def is_data(text: str) -> bool:
    """Whether ``text`` is a picture or a file."""
    return text.startswith("data:") and _DATA.match(text) is not None


def texts(value: Any, *, free: bool = False) -> Iterator[str]:
    """The strings of decoded JSON that a mask may go into; those of a call's arguments as they
    are once these are read too. ``free``: it is a call's arguments."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for entry in value:
            yield from texts(entry, free=free)
    elif isinstance(value, dict):
        for key, entry in value.items():
            if isinstance(entry, str):
                if not free and key == "arguments":
                    yield from _arguments(entry)
                elif free or key not in _KEPT:
                    yield entry
            elif free or key not in _KEPT:
                yield from texts(entry, free=free or (key in _FREE and isinstance(entry, dict)))


def _arguments(text: str) -> Iterator[str]:
    try:
        value = value_of(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        yield text
    else:
        yield from texts(value, free=True)


def places(raw: bytes, *, free: bool = False) -> Iterator[tuple[int, int, str]]:
    """(start, end, field) of the same strings in undecoded JSON, quotes included; the field is
    empty in a call's arguments. ``arguments`` come undivided."""
    # Per object or array: is it an object, its field at the moment, are its strings kept, free.
    frames: list[tuple[bool, str, bool, bool]] = []
    is_object, field, kept = False, "", False
    named = True
    for match in _TOKEN.finditer(raw):
        start, end = match.span()
        first = raw[start]
        if first == _QUOTE:
            if is_object and not named:
                field, named = value_of(raw[start:end]), True
            elif not kept and (free or field not in _KEPT):
                yield start, end, "" if free else field
        elif first in _OPENS:
            frames.append((is_object, field, kept, free))
            kept = kept or (not free and field in _KEPT)
            opens_object = first == _OPENS[0]
            free = free or (opens_object and is_object and field in _FREE)
            field = "" if opens_object else field
            is_object, named = opens_object, not opens_object
        elif first == _COMMA:
            named = not is_object
        elif frames:
            is_object, field, kept, free = frames.pop()


_QUOTE, _COMMA = ord('"'), ord(",")
_OPENS = b"{["
