"""Message bodies with pseudonyms, whatever form they have: JSON, a stream of events, plain text.

Strategy: strings are taken out of their JSON, replaced and put back; what a stream says in pieces
is put together first, since a path may be cut anywhere. What holds nothing stays byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .deltas import Place, Text, as_stream, cut, pieces_of

_PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
#: A picture of one white pixel: what stands for pictures, since nobody reads what they show.
BLANK = f"data:image/png;base64,{_PIXEL}"
_WHOLE = re.compile(r"data:(?:image|audio|application)/[\w.+-]+;base64,[A-Za-z0-9+/=]{120,}")
_BARE = re.compile(r"(?<![A-Za-z0-9+/_-])(?:iVBORw0KGgo|/9j/|UklGR|R0lGOD)[A-Za-z0-9+/]{40,}={0,2}")
#: Pictures, in a URL and by themselves, each with what stands for it.
PICTURES = [(_WHOLE, BLANK), (_BARE, _PIXEL)]
_ROLES = frozenset({"user", "system", "developer"})


def body(data: bytes, text: Text, *, prompt: Text | None = None) -> bytes:
    """``data`` with each string put through ``text``, the words of prompts through ``prompt``."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        if (events := as_stream(data)) is not None:
            return stream(events, text)
        made = text(data.decode("utf-8", "surrogateescape"))
        return made.encode("utf-8", "surrogateescape")
    if isinstance(value, str):
        value = [value]
        return written(value[0], data) if _put(list(_strings(value)), text) else data
    changed = False
    if prompt and isinstance(value, dict):
        changed = _put(list(_prompts(value)), prompt)
    changed = _put(list(_strings(value)), text) or changed
    changed = _rename(value, text) or changed
    return written(value, data) if changed else data


def stream(data: bytes, text: Text) -> bytes:
    """A stream of events with each string put through ``text``; what comes in pieces as a whole."""
    lines = data.split(b"\n")
    values = [_event(line) for line in lines]
    inside = {(id(box), key) for value in values for _, (box, key) in pieces_of(value)}
    changed = {id(box) for box, _ in cut(values, text)}
    for at, value in enumerate(values):
        if value is None:
            continue
        whole = [p for p in _strings(value) if (id(p[0]), p[1]) not in inside]
        if _put(whole, text) | _rename(value, text) or any(
            id(box) in changed for box in _boxes(value)
        ):
            lines[at] = b"data: " + written(value, lines[at])
    return b"\n".join(lines)


def texts(data: bytes) -> Iterator[str]:
    """Every text in a body, out of its JSON, pieces of streams put together."""
    seen: list[str] = []

    def note(text: str) -> str:
        seen.append(text)
        return text

    body(data, note)
    yield from seen


def _event(line: bytes) -> Any:
    if not line.startswith(b"data:"):
        return None
    try:
        value = json.loads(line[5:])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def written(value: Any, like: bytes) -> bytes:
    """JSON with the spaces that ``like`` has."""
    loose = b'": ' in like[:400]
    separators = (", ", ": ") if loose else (",", ":")
    # Halves of characters can only be written as escapes.
    try:
        return json.dumps(value, ensure_ascii=False, separators=separators).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=separators).encode()


def _put(places: list[Place], text: Text) -> bool:
    changed = False
    for box, key in places:
        made = text(box[key])
        if made != box[key]:
            box[key] = made
            changed = True
    return changed


def _rename(value: Any, text: Text) -> bool:
    """Put the names of fields through ``text``, too: a path may be one."""
    changed = False
    for box in list(_boxes(value)):
        if isinstance(box, dict) and any(text(name) != name for name in box):
            made = {text(name): inner for name, inner in box.items()}
            box.clear()
            box.update(made)
            changed = True
    return changed


def _strings(value: Any) -> Iterator[Place]:
    """Where strings stand in ``value``."""
    if not isinstance(value, dict | list):
        return
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if isinstance(inner, str):
            yield value, key
        elif isinstance(inner, dict | list):
            yield from _strings(inner)


def _boxes(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _boxes(inner)


def _prompts(value: dict[str, Any]) -> Iterator[Place]:
    """Where the words of the user and of the instructions stand."""
    for name in ("instructions", "system"):
        if isinstance(value.get(name), str):
            yield value, name
        elif isinstance(value.get(name), list):
            yield from _parts(value[name])
    for name in ("input", "messages"):
        if isinstance(value.get(name), str):
            yield value, name
        items = value.get(name)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and item.get("role") in _ROLES:
                content = item.get("content")
                if isinstance(content, str):
                    yield item, "content"
                elif isinstance(content, list):
                    yield from _parts(content)


def _parts(content: list[Any]) -> Iterator[Place]:
    for part in content:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part, "text"
