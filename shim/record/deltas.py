"""What streams of events say in pieces: a word, or a key, may be cut anywhere.

Each protocol's deltas are put together by what they belong to: a message's text, a call's
arguments, a thought.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from ..wire.sse import PADDING, is_stream

_THINKS = ("content", "reasoning_content", "reasoning", "refusal")
_PIECES = ("text", "thinking", "partial_json")
_DETAILS = ("text", "summary")

#: Says nothing of what an event belongs to, and is another in each.
_NUMBER = re.compile(rb'"sequence_number":\d+,')
#: What may stand between a string's quotes.
_TEXT = re.compile(rb'[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+')
_END = b"\n\n"
#: A line may end with it alone.
_LONE_CR = re.compile(rb"\r(?!\n)")
#: So many runs of like events are looked for: a thought, a text, a call; each from so many events.
_RUNS, _TRIES = 4, 4

type Text = Callable[[str], str]
type Place = tuple[Any, Any]


def as_stream(data: bytes) -> bytes | None:
    """``data`` as events on lines, without what is before the first; None where it holds none. One
    that is damaged where it begins says the rest all the same."""
    if b"\r" in data:
        data = _LONE_CR.sub(b"\n", data)
    if is_stream(data):
        return data.lstrip(PADDING + b"\r\n")
    return data if b"\ndata:" in data else None


def pieces_of(value: Any) -> Iterator[tuple[object, Place]]:
    """Where an event holds a piece of something longer, and of what."""
    if not isinstance(value, dict):
        return
    delta = value.get("delta")
    names = ("type", "output_index", "content_index", "summary_index", "index")
    whose = tuple(str(value.get(name)) for name in names)
    if isinstance(delta, str):
        yield whose, (value, "delta")
    elif isinstance(delta, dict):
        for name in _PIECES:
            if isinstance(delta.get(name), str):
                yield (*whose, name), (delta, name)
    for choice in _dicts(value.get("choices")):
        inner, index = choice.get("delta"), str(choice.get("index"))
        if not isinstance(inner, dict):
            continue
        for name in _THINKS:
            if isinstance(inner.get(name), str):
                yield (index, name), (inner, name)
        for detail in _dicts(inner.get("reasoning_details")):
            for name in _DETAILS:
                if isinstance(detail.get(name), str):
                    yield (index, str(detail.get("index")), name), (detail, name)
        for call in _dicts(inner.get("tool_calls")):
            function = call.get("function")
            if isinstance(function, dict) and isinstance(function.get("arguments"), str):
                yield (index, "call", str(call.get("index"))), (function, "arguments")


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    for inner in value if isinstance(value, list) else ():
        if isinstance(inner, dict):
            yield inner


def cut(values: Iterable[Any], text: Text) -> list[Place]:
    """Put what the events in ``values`` say in pieces through ``text``; the pieces it changed."""
    pieces: dict[object, list[Place]] = {}
    for value in values:
        for group, place in pieces_of(value):
            pieces.setdefault(group, []).append(place)
    return [place for places in pieces.values() for place in _cut(places, text)]


def _cut(places: list[Place], text: Text) -> list[Place]:
    """Put the pieces at ``places`` through ``text`` as one; those that are others now."""
    pieces = [box[key] for box, key in places]
    whole = "".join(pieces)
    made = text(whole)
    if made == whole:
        return []
    changed, at = [], 0
    for n, (box, key) in enumerate(places):
        end = at + len(pieces[n]) if n < len(places) - 1 else len(made)
        if made[at:end] != pieces[n]:
            box[key] = made[at:end]
            changed.append((box, key))
        at = end
    return changed


type _Name = str | int | None


class _Delta(msgspec.Struct, gc=False):
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None


class _Detail(msgspec.Struct, gc=False):
    index: _Name = None
    text: str | None = None
    summary: str | None = None


class _Function(msgspec.Struct, gc=False):
    arguments: str | None = None


class _Call(msgspec.Struct, gc=False):
    index: _Name = None
    function: _Function | None = None


class _Said(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    reasoning_details: list[_Detail] | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct, gc=False):
    index: _Name = None
    delta: _Said | None = None


class _Event(msgspec.Struct, gc=False):
    type: _Name = None
    output_index: _Name = None
    content_index: _Name = None
    summary_index: _Name = None
    index: _Name = None
    delta: str | _Delta | None = None
    choices: list[_Choice] | None = None


_decode = msgspec.json.Decoder(_Event).decode


def said(data: bytes) -> list[str] | None:
    """What `cut` would put together of the stream ``data``, at a tenth of its time; None where an
    event is none that the protocols know."""
    pieces: dict[object, list[str]] = defaultdict(list)
    for line in data.split(b"\n"):
        if line[:5] != b"data:":
            continue
        try:
            event = _decode(line[5:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if line.strip() == b"data: [DONE]":
                continue
            return None
        for choice in event.choices or ():
            if (inner := choice.delta) is None:
                continue
            index = choice.index
            if inner.content:
                pieces[index, "content"].append(inner.content)
            if inner.reasoning_content:
                pieces[index, "reasoning_content"].append(inner.reasoning_content)
            if inner.reasoning:
                pieces[index, "reasoning"].append(inner.reasoning)
            if inner.refusal:
                pieces[index, "refusal"].append(inner.refusal)
            for call in inner.tool_calls or ():
                if call.function and call.function.arguments:
                    pieces[index, "call", call.index].append(call.function.arguments)
            for detail in inner.reasoning_details or ():
                if detail.text:
                    pieces[index, detail.index, "text"].append(detail.text)
                if detail.summary:
                    pieces[index, detail.index, "summary"].append(detail.summary)
        if not (delta := event.delta):
            continue
        whose = (
            event.type,
            event.output_index,
            event.content_index,
            event.summary_index,
            event.index,
        )
        if type(delta) is str:
            pieces[whose].append(delta)
            continue
        for name in _PIECES:
            if text := getattr(delta, name):
                pieces[whose, name].append(text)
    return ["".join(texts) for texts in pieces.values()]


def shortened(data: bytes) -> bytes:
    """The stream ``data`` with events made one that follow each other and say nothing but more of
    the same text, at the speed of a search. What all of them say in pieces, `said` finds in it."""
    data = _NUMBER.sub(b"", data)
    for _ in range(_RUNS):
        if (made := _joined(data)) is None:
            break
        data = made
    return data


def _joined(data: bytes) -> bytes | None:
    """``data`` with the events made one that are like the one in its middle; None where that, or
    what follows it, is like no other."""
    begin = data.rfind(_END, 0, len(data) // 2) + len(_END)
    for _ in range(_TRIES):
        end = data.find(_END, begin)
        if end < 0:
            return None
        if (around := _around(data[begin:end])) and (made := _joined_by(data, *around)):
            return made
        begin = end + len(_END)
    return None


def _joined_by(data: bytes, head: bytes, tail: bytes) -> bytes | None:
    between = tail + _END + head
    first, *rest = data.split(between)
    while rest and not _begins(first.rpartition(_END)[2], head):
        first += between + rest.pop(0)
    if len(rest) < 2:
        return None
    last, end, behind = rest[-1].partition(tail + _END)
    # Between two of them there must be text alone, or they are not of one run.
    texts = b"".join([*rest[:-1], last])
    return first + texts + end + behind if end and _TEXT.fullmatch(texts) else None


def _begins(event: bytes, head: bytes) -> bool:
    """Whether ``event`` is ``head`` and the beginning of its text."""
    return event.startswith(head) and bool(_TEXT.fullmatch(event, len(head)))


def _around(event: bytes) -> tuple[bytes, bytes] | None:
    """What stands before and behind the one piece that ``event`` says; None without."""
    found = said(event)
    if not found or len(found) != 1:
        return None
    text = msgspec.json.encode(found[0])
    head, *tails = event.split(text)
    return (head + b'"', b'"' + tails[0]) if len(tails) == 1 else None
