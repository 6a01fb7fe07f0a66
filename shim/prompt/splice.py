"""Elements with some of their strings changed: all but these stays as it came, byte for byte."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from ..json_text import WireError, load, members, protect_surrogates, restore_surrogates, split
from ..strings import Path

_encode = msgspec.json.encode
_decode = msgspec.json.decode
_HEAD = 64
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],]', re.DOTALL)

#: In the place of an entry of a list: it goes.
GONE = object()
#: What becomes of the string at a place: another one, null, or nothing (see `GONE`).
Change = Any


def readable_value(raw: msgspec.Raw | bytes, place: str = "") -> tuple[Any, bool]:
    """What stands in ``raw``, to be looked at; and whether there is half a surrogate pair in it.

    A number that is too large is read as whatever it may be: numbers stay as they came.
    """
    try:
        return _decode(raw), False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        data = bytes(raw)
    text = protect_surrogates(data)
    try:
        return load(text, place), text is not data
    except WireError:
        try:
            return json.loads(text, parse_int=len), text is not data
        except (ValueError, RecursionError):
            pass
        raise


def spliced(raw: msgspec.Raw, changes: dict[Path, Change], *, has_surrogates: bool) -> msgspec.Raw:
    """``raw`` with ``changes`` made in it; ``has_surrogates``: they are protected in it."""
    data = protect_surrogates(bytes(raw)) if has_surrogates else bytes(raw)
    texts = {path: change for path, change in changes.items() if change is not GONE}
    if len(texts) == 1:
        ((path, text),) = texts.items()
        data = _with_text(data, path, text)
    elif texts:
        data = _with_texts(data, texts)
    if gone := [path for path, change in changes.items() if change is GONE]:
        data = _without(msgspec.Raw(data), gone)
    return msgspec.Raw(restore_surrogates(data) if has_surrogates else data)


def _with_text(data: bytes, path: Path, text: Change) -> bytes:
    """``data`` with one string changed: mostly it stands there once."""
    raw = msgspec.Raw(data)
    for step in path:
        if isinstance(step, tuple):
            return _with_texts(data, {path: text})
        raw = split(raw)[step] if isinstance(step, int) else members(raw)[step]
    old = bytes(raw)
    # Its beginning tells it apart; a long text takes long to be looked for.
    head = old[:_HEAD]
    start = data.find(head)
    if data.find(head, start + 1) >= 0:
        return _with_texts(data, {path: text})
    return b"".join((data[:start], _encode(text), data[start + len(old) :]))


def _with_texts(data: bytes, texts: dict[Path, Change]) -> bytes:
    """One walk over the tokens, beside one down the paths that lead to a change."""
    tree = _tree(texts)
    out: list[bytes] = []
    done, changed = 0, 0
    # Of what is open: what is to be changed below it, its index (None: an object), its field.
    node: dict[Any, Any] | None = tree
    index: int | None = None
    field, named = "", True
    frames: list[tuple[Any, Any, Any, bool]] = []
    for match in _TOKEN.finditer(data):
        token = match[0]
        first = token[0]
        if first == _QUOTE:
            if index is None and not named:
                field, named = _decode(token), True
                change = node and node.get((field,))
            else:
                change = node and node.get(field if index is None else index)
            if change and isinstance(change, bytes):
                out += (data[done : match.start()], change)
                done = match.end()
                changed += 1
        elif first in _OPENS:
            below = node.get(field if index is None else index) if node else None
            frames.append((node, index, field, named))
            node = below if isinstance(below, dict) else None
            index, field, named = (None, "", False) if first == _OPENS[0] else (0, "", True)
        elif first == _COMMA:
            if index is None:
                named = False
            else:
                index += 1
        elif frames:
            node, index, field, named = frames.pop()
    if changed != len(texts):
        raise LookupError("a place that was to be changed is not there")
    return b"".join([*out, data[done:]])


def _tree(texts: dict[Path, Change]) -> dict[Any, Any]:
    """What is to be written at each place, as JSON; below a field or index what is below it."""
    tree: dict[Any, Any] = {}
    for path, text in texts.items():
        node = tree
        for step in ("", *path[:-1]) if path else ():
            node = node.setdefault(step, {})
        node[path[-1] if path else ""] = _encode(text)
    return tree


def _without(raw: msgspec.Raw, gone: list[Path]) -> bytes:
    """``raw`` without the entries of lists that stand at the paths ``gone``."""
    below: dict[Any, list[Path]] = {}
    for path in gone:
        below.setdefault(path[0], []).append(path[1:])
    if bytes(memoryview(raw)[:1]) == b"[":
        entries = [
            entry if n not in below else _without(entry, below[n])
            for n, entry in enumerate(split(raw))
            if () not in below.get(n, ())
        ]
        return b"[%b]" % b",".join(entries)
    fields = {
        name: msgspec.Raw(_without(value, below[name])) if name in below else value
        for name, value in members(raw).items()
    }
    return _encode(fields)


_QUOTE, _COMMA = ord('"'), ord(",")
_OPENS = b"{["
