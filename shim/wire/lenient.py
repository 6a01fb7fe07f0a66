"""An upstream's JSON as it was meant, and its values in the shape that was meant.

Strategy: strict JSON first; where that fails, what Python's reader takes (NaN, control characters,
halves of surrogate pairs), one value after the other. Bytes that are no UTF-8 become lone
surrogates, which `characters` puts together. Whatever is left is `Unreadable`: nobody guesses.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec

from ..shown import short

#: ``[DONE]``, among the values of an event.
DONE = object()
_NOTHING = object()
#: Levels of an event, at most: what walks over it goes as deep.
DEEPEST = 200
#: Data of so many bytes is long.
_LONG = 1024
#: Values in one event, at most.
_MOST_VALUES = 1000
#: Characters of what cannot be read that a message repeats.
_EXCERPT = 100
#: Beyond this a double does not hold each whole number, and clients read doubles.
_MOST = 2**53
#: Python reads no longer integers.
_DIGITS = 4000

_decode = msgspec.json.Decoder().decode
_BETWEEN = re.compile(r"[\s,;\x00\ufeff]*(?:data:[\s\x00\ufeff]*)?")


class Unreadable(ValueError):
    """Something an upstream sent that has no plain meaning; the sentence says what it is."""


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < _DIGITS else float(digits)


_json = json.JSONDecoder(strict=False, parse_int=_whole)


def read(
    payload: bytes, decode_long: Callable[[bytes], Any] | None = None
) -> tuple[list[Any], bool]:
    """The values in an event's data, and whether they are other than strict JSON says.

    ``decode_long`` is for long data: it may leave out what nobody reads, and may raise ValueError.
    """
    if payload.strip() == b"[DONE]":
        return [DONE], False
    value = _NOTHING
    if decode_long and len(payload) > _LONG:
        try:
            value = decode_long(payload)
        except (ValueError, RecursionError):
            pass
    try:
        value = _decode(payload) if value is _NOTHING else value
    except (ValueError, RecursionError):
        return _values(payload), True
    if len(payload) > 2 * DEEPEST and payload.count(b"{") + payload.count(b"[") > DEEPEST:
        _check_depth(value)
    return [value], False


def one(body: bytes) -> tuple[Any, bool]:
    """The one value of an answer that came as a whole, and whether it had to be mended."""
    values, mended = read(body)
    if len(values) != 1 or values[0] is DONE:
        raise Unreadable(excerpt(body))
    return values[0], mended


def excerpt(data: bytes) -> str:
    """The beginning of ``data``, as a message can repeat it."""
    text = short(data[: 8 * _EXCERPT].decode("utf-8", "replace"), 4 * _EXCERPT)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return short(text, _EXCERPT)


def strict(text: str) -> Any:
    """The value of ``text``, as JSON and nothing else; it is not too deep to be walked over."""
    try:
        value = _decode(text)
    except (ValueError, RecursionError):
        raise Unreadable(excerpt(text[:400].encode("utf-8", "replace"))) from None
    if text.count("{") + text.count("[") > DEEPEST:
        _check_depth(value)
    return value


def is_truncated(payload: bytes) -> bool:
    """Whether data that cannot be read may be JSON whose end is missing."""
    return payload.lstrip(b" \t\r\n\x00\xef\xbb\xbf")[:1] in (b"{", b"[")


def _values(payload: bytes) -> list[Any]:
    text = payload.decode("utf-8", "surrogateescape")
    values: list[Any] = []
    at = _between(text, 0)
    while at < len(text):
        if len(values) == _MOST_VALUES:
            raise Unreadable(excerpt(payload))
        if text.startswith("[DONE]", at):
            value, at = DONE, at + 6
        else:
            try:
                value, at = _json.raw_decode(text, at)
            except (ValueError, RecursionError):
                raise Unreadable(excerpt(payload)) from None
            _check_depth(value)
        values.append(value)
        at = _between(text, at)
    return values


def _between(text: str, at: int) -> int:
    match = _BETWEEN.match(text, at)
    return match.end() if match else at


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for entry in level:
            if isinstance(entry, dict):
                inner += entry.values()
            elif isinstance(entry, list):
                inner += entry
        if not inner:
            return
        level = inner
    raise Unreadable(f"something nested deeper than {DEEPEST} levels")


def text_of(value: Any) -> str:
    """A text; a number or a structure in its place as JSON, nothing for nothing."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def name_of(value: Any) -> str:
    """An id or a name: a text, or a number in its place."""
    if isinstance(value, str):
        return value
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return text_of(value) if usable else ""


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; one that stands by itself counts as a list of one."""
    if isinstance(value, list):
        return [entry for entry in value if isinstance(entry, dict)]
    return [value] if isinstance(value, dict) else []


def only_objects(value: Any) -> list[dict[str, Any]]:
    """The same, where nothing else may be: `Unreadable` by what would be lost."""
    if not value:
        return []
    dicts = objects(value)
    entries = value if isinstance(value, list) else [value]
    if len(dicts) < len(entries) and any(e and not isinstance(e, dict) for e in entries):
        raise Unreadable("")
    return dicts


def mapping(value: Any) -> dict[str, Any]:
    """An object; an empty one in the place of anything else."""
    return value if isinstance(value, dict) else {}


def number(value: Any) -> int | None:
    """A whole number, also as a text or with a fraction of nothing; None for anything else."""
    if type(value) is int:
        return value if -_MOST < value < _MOST else None
    if isinstance(value, str) and len(value) < 20:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, float):
        value = int(value) if math.isfinite(value) else None
    return value if type(value) is int and -_MOST < value < _MOST else None


def count(value: Any) -> int:
    """A number of tokens or seconds: not negative, 0 where there is none."""
    return max(0, number(value) or 0)
