"""Writes the form of flow files (tnetstrings, as mitmproxy reads them).

mitmproxy's own writer makes no difference between a body and a flag: for a short exchange it takes
longer than all the rest of recording.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any


class Ready(bytes):
    """A value that is written already."""


def dumps(value: Any) -> Ready:
    """``value`` written; it may be put into others. TypeError for what has no form."""
    out: list[bytes] = []
    _put(out, value)
    return Ready(b"".join(out))


def _put(out: list[bytes], value: Any) -> int:
    """Append ``value`` to ``out``; its length."""
    kind = type(value)
    if kind is bytes:
        head = b"%d:" % len(value)
        out += (head, value, b",")
        return len(head) + len(value) + 1
    if kind is not dict and kind is not tuple and kind is not list:
        made = value if kind is Ready else _plain(value)
        out.append(made)
        return len(made)
    at, length = len(out), 0
    out.append(b"")
    if kind is dict:
        end = b"}"
        for name, inner in value.items():
            key = _name(name) if type(name) is str else dumps(name)
            kind = type(inner)
            if inner is None:
                out += (key, b"0:~")
                length += len(key) + 3
            elif kind is str or kind is float:
                made = _plain(inner)
                out += (key, made)
                length += len(key) + len(made)
            else:
                out.append(key)
                length += len(key) + _put(out, inner)
    else:
        end = b"]"
        for inner in value:
            if (
                type(inner) is tuple
                and len(inner) == 2
                and type(inner[0]) is type(inner[1]) is bytes
            ):
                pair = _pair(*inner)
                out.append(pair)
                length += len(pair)
            else:
                length += _put(out, inner)
    out[at] = head = b"%d:" % length
    out.append(end)
    return len(head) + length + 1


@lru_cache(maxsize=1024)
def _name(value: str) -> bytes:
    return _plain(value)


@lru_cache(maxsize=4096)
def _pair(first: bytes, second: bytes) -> bytes:
    """A header: most come again with the next request."""
    return dumps([first, second])


def _plain(value: Any) -> bytes:
    if value is None:
        return b"0:~"
    if isinstance(value, str):
        text = value.encode()
        return b"%d:%b;" % (len(text), text)
    if isinstance(value, bool):
        return b"4:true!" if value else b"5:false!"
    if isinstance(value, int | float):
        number = repr(value).encode()
        return b"%d:%b%b" % (len(number), number, b"#" if isinstance(value, int) else b"^")
    raise TypeError(f"no flow file can hold {type(value).__name__}")
