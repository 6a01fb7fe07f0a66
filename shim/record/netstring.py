"""Writes the form of flow files (tnetstrings, as mitmproxy reads them) without copying bodies.

mitmproxy's own writer makes no difference between a body and a flag: for a short exchange it takes
longer than all the rest of recording.
"""

from __future__ import annotations

from typing import Any

#: Longer ones are pieces by themselves.
_LONG = 4096


class Ready(bytes):
    """A value that is written already."""


def pieces(value: Any) -> list[bytes]:
    """``value`` written; what is long is handed on as it is. TypeError for what has no form."""
    out: list[bytes] = []
    _put(out, value)
    made: list[bytes] = []
    short: list[bytes] = []
    for piece in out:
        if len(piece) < _LONG:
            short.append(piece)
        else:
            made += (b"".join(short), piece)
            short = []
    made.append(b"".join(short))
    return made


def ready(value: Any) -> Ready:
    """``value`` written once, to be put into several others."""
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
    if kind is dict:
        parts, end = (part for item in value.items() for part in item), b"}"
    elif kind is tuple or kind is list:
        parts, end = value, b"]"
    else:
        made = value if kind is Ready else _plain(value)
        out.append(made)
        return len(made)
    at, length = len(out), 0
    out.append(b"")
    for part in parts:
        length += _put(out, part)
    out[at] = head = b"%d:" % length
    out.append(end)
    return len(head) + length + 1


def _plain(value: Any) -> bytes:
    if isinstance(value, str):
        text = value.encode()
        return b"%d:%b;" % (len(text), text)
    if value is None:
        return b"0:~"
    if isinstance(value, bool):
        return b"4:true!" if value else b"5:false!"
    if isinstance(value, int | float):
        number = repr(value).encode()
        return b"%d:%b%b" % (len(number), number, b"#" if isinstance(value, int) else b"^")
    raise TypeError(f"no flow file can hold {type(value).__name__}")
