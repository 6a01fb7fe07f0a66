"""Two messages compared piece by piece, told in lines one can read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from .pieces import Piece

_AROUND = 40
_MOST = 12


def differences(
    before: Sequence[Piece],
    after: Sequence[Piece],
    was: str = "recorded",
    now: str = "today",
    start: int = 0,
) -> list[str]:
    """What ``after`` has otherwise than ``before``, a few lines per piece; empty: nothing.

    ``start``: so many pieces stand before these.
    """
    lines = list(_lines(before, after, was, now, start))
    if len(lines) > 3 * _MOST:
        return [*lines[: 3 * _MOST], f"… and {len(lines) - 3 * _MOST} more lines"]
    return lines


def _lines(
    before: Sequence[Piece],
    after: Sequence[Piece],
    was: str,
    now: str,
    start: int,
) -> Iterator[str]:
    a, b = list(before), list(after)
    for how, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if how == "equal":
            continue
        shared = min(j - i, m - k)
        for n in range(shared):
            yield from _pair(start + i + n, a[i + n], b[k + n], was, now)
        for n in range(i + shared, j):
            yield f"{_name(start + n, a[n])}: only {was}: {_beginning(a[n].text)}"
        for n in range(k + shared, m):
            yield f"{_name(start + n, b[n])}: only {now}: {_beginning(b[n].text)}"


def _pair(n: int, a: Piece, b: Piece, was: str, now: str) -> Iterator[str]:
    if a.title != b.title:
        yield f"{_name(n, a)}: is {b.title} {now}"
    elif a.text == b.text:
        yield f"{_name(n, a)}: its id is {b.key or 'none'} {now}, {a.key or 'none'} {was}"
        return
    wide = max(len(was), len(now)) + 1
    at, left, right = _where(a.text, b.text)
    if a.title == b.title:
        yield f"{_name(n, a)}: differs at character {at:,}"
    yield f"    {was + ':':<{wide}} {left}"
    yield f"    {now + ':':<{wide}} {right}"


def _where(a: str, b: str) -> tuple[int, str, str]:
    """Where two texts part, and each around there."""
    at = next(
        (n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    start = max(0, at - _AROUND)
    return at, _around(a, start, at), _around(b, start, at)


def _around(text: str, start: int, at: int) -> str:
    end = at + 2 * _AROUND
    cut = text[start:end].replace("\n", "⏎")
    if not cut:
        return "(ends here)" if text else "(nothing)"
    return f"{'…' if start else ''}{cut}{'…' if end < len(text) else ''}"


def _beginning(text: str) -> str:
    return _around(text, 0, 0)


def _name(n: int, piece: Piece) -> str:
    key = f" {piece.key}" if piece.key else ""
    return f"item {n + 1}, {piece.title}{key}"
