"""Ways in which a stream comes damaged: some whose meaning stays plain, some that leave an event
nobody can read, and some that may do anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

_ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    0.5,
    "",
    "0",
    "text",
    "\ud83d",
    [],
    {},
    ["text", 5],
    [[{}]],
    {"a": 1},
    {"type": "text", "text": 5},
]
#: Numbers that JSON's grammar has, or does not, and that are no number to calculate with.
_LITERALS = ["1e999", "-1e999", "NaN", "Infinity", "1" * 5000, "[" * 3000 + "]" * 3000]


def parts(stream: bytes) -> list[bytes]:
    """The events of a recorded stream, without their blank lines."""
    return [part for part in stream.replace(b"\r\n", b"\n").split(b"\n\n") if part.strip()]


def _data(part: bytes) -> tuple[bytes, bytes]:
    """(an event's other lines, its data)."""
    lines = part.split(b"\n")
    other = b"".join(line + b"\n" for line in lines if not line.startswith(b"data:"))
    return other, b"".join(line[5:].strip() for line in lines if line.startswith(b"data:"))


def _joined(all: list[bytes]) -> bytes:
    return b"".join(part + b"\n\n" for part in all)


def _of_json(make: Callable[[bytes, bytes], bytes]) -> Callable[[list[bytes], int], bytes]:
    """Puts ``make(lines before, data)`` in the place of one event that says JSON."""

    def changed(all: list[bytes], at: int) -> bytes:
        before, data = _data(all[at])
        if data[:1] != b"{":
            return _joined(all)
        return _joined([*all[:at], make(before, data), *all[at + 1 :]])

    return changed


def _lines(end: bytes) -> Callable[[list[bytes], int], bytes]:
    return lambda all, at: _joined(all).replace(b"\n", end)


def _between(more: bytes) -> Callable[[list[bytes], int], bytes]:
    return lambda all, at: _joined(all[:at]) + more + _joined(all[at:])


def _run_on(all: list[bytes], at: int) -> bytes:
    """The blank line behind an event is missing."""
    return _joined(all[:at]) + all[at] + b"\n" + _joined(all[at + 1 :])


def _merged(all: list[bytes], at: int) -> bytes:
    """Two events' data in one line."""
    if at + 1 == len(all):
        return _joined(all)
    before, data = _data(all[at])
    more = _data(all[at + 1])[1]
    return _joined([*all[:at], before + b"data: " + data + more, *all[at + 2 :]])


def _bare(all: list[bytes], at: int) -> bytes:
    """JSON that stands by itself."""
    return _joined([*all[:at], _data(all[at])[1], *all[at + 1 :]])


#: The meaning stays plain: the answer must be what it was.
HARMLESS: dict[str, Callable[[list[bytes], int], bytes]] = {
    "CRLF": _lines(b"\r\n"),
    "CR": _lines(b"\r"),
    "one CRLF": lambda all, at: _joined(all[:at]) + _joined(all[at:]).replace(b"\n", b"\r\n"),
    "no blank line": _run_on,
    "two in one line": _merged,
    "bare JSON": _bare,
    "no end": lambda all, at: _joined(all)[:-2],
    "no last line feed": lambda all, at: _joined(all)[:-1],
    "byte order mark": lambda all, at: b"\xef\xbb\xbf" + _joined(all),
    "NUL between": _between(b"\x00\x00\x00"),
    "blanks between": _between(b"  \n \n"),
    "comment between": _between(b": wait\n\n"),
    "unknown field": _between(b"colour: red\n"),
    "id and retry": _between(b"id: 7\nretry: 100\n"),
    "no blank": _of_json(lambda before, data: before + b"data:" + data),
    "padded": _of_json(
        lambda before, data: before + b"data: \x00 \xef\xbb\xbf" + data + b"\x00\x00"
    ),
    "comma": _of_json(lambda before, data: before + b"data: " + data + b","),
    "no number": _of_json(lambda b, d: b + b'data: {"none":NaN,"much":-Infinity,' + d[1:]),
    "control character": _of_json(lambda b, d: b + b'data: {"tab":"a\tb\x01",' + d[1:]),
    "half a character": _of_json(lambda b, d: b + b'data: {"half":"\\ud83d","raw":"\xc3",' + d[1:]),
    "line break in JSON": _of_json(lambda b, d: b + b"data: {\n" + d[1:]),
    "line break in a text": _of_json(lambda b, d: b + b'data: {"two":"lines\nof text",' + d[1:]),
    "data in two lines": _of_json(lambda b, d: b + b"data: {\ndata: " + d[1:]),
    "in a list": _of_json(lambda before, data: before + b"data: [" + data + b"]"),
}

#: One event cannot be read any more.
HARMFUL: dict[str, Callable[[bytes, bytes], bytes]] = {
    "cut": lambda before, data: before + b"data: " + data[: 1 + len(data) // 2],
    "last byte": lambda before, data: before + b"data: " + data[:-1],
    "first byte": lambda before, data: before + b"data: " + data[1:],
    "no quote": lambda before, data: before + b"data: " + data.replace(b'"', b"", 1),
    "words": lambda before, data: before + b"data: the engine is on fire",
    "page": lambda before, data: b"<html>\n<h1>502 Bad Gateway</h1>\n</html>",
    "other field": lambda before, data: before + b"dato: " + data,
    "no field": lambda before, data: before + b"data" + data,
    "in the name": lambda before, data: (before.strip() or b"event: x") + b"data: " + data,
    "a text": lambda before, data: before + b"data: " + json.dumps(data.decode()).encode(),
    "a number": lambda before, data: before + b"data: 12",
    "deep": lambda before, data: (
        before + b'data: {"a":' + b"[" * 3000 + b"]" * 3000 + b"," + data[1:]
    ),
}


def harmful(all: list[bytes], at: int, name: str) -> bytes:
    """``all`` with one event in the way of ``HARMFUL``."""
    return _of_json(HARMFUL[name])(all, at)


@st.composite
def anything(draw: st.DrawFn, stream: bytes) -> bytes:
    """A stream with a few things done to it, to its events and to its bytes."""
    all = parts(stream)
    for _ in range(draw(st.integers(0, 3))):
        at, to = draw(st.integers(0, len(all) - 1)), draw(st.integers(0, len(all) - 1))
        what = draw(st.sampled_from(["drop", "twice", "move", "odd", "literal"]))
        if what == "drop" and len(all) > 1:
            del all[at]
        elif what == "twice":
            all.insert(to, all[at])
        elif what == "move":
            all.insert(to, all.pop(at))
        elif what in ("odd", "literal"):
            all[at] = draw(odd(all[at], literal=what == "literal"))
    data = draw(st.sampled_from([*HARMLESS.values()]))(all, draw(st.integers(0, len(all) - 1)))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        what = draw(st.sampled_from(["cut", "delete", "insert", "flip"]))
        if what == "cut":
            data = data[:at]
        elif what == "delete":
            data = data[:at] + data[at + draw(st.integers(1, 20)) :]
        else:
            more = draw(st.binary(min_size=1, max_size=4))
            data = data[:at] + more + data[at + (len(more) if what == "flip" else 0) :]
    return data


@st.composite
def odd(draw: st.DrawFn, part: bytes, *, literal: bool = False) -> bytes:
    """An event in which one value, somewhere, is another one."""
    before, data = _data(part)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return part
    return before + b"data: " + draw(odd_json(value, literal=literal))


@st.composite
def odd_json(draw: st.DrawFn, value: Any, *, literal: bool = False) -> bytes:
    """JSON in which one value, somewhere, is another one."""
    top = [value]
    box, key = draw(st.sampled_from(list(_places(top))))
    box[key] = "@" if literal else draw(st.sampled_from(_ODD))
    text = json.dumps(top[0])
    return text.replace('"@"', draw(st.sampled_from(_LITERALS)) if literal else '"@"').encode()


def _places(box: Any) -> Iterator[tuple[Any, Any]]:
    """Where the values in a value are, at all levels."""
    for key, inner in list(box.items() if isinstance(box, dict) else enumerate(box)):
        yield box, key
        if isinstance(inner, dict | list):
            yield from _places(inner)
