"""What a dialect is: how it opens, how it may close, how it is read and written.

A reader is handed a candidate: the text from its opening up to a place where it may close, or, with
``last``, all there is of it. It says which calls that is, that it is none, or that it goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

#: A name as the model wrote it, and arguments: an object, or what stood in their place.
Call = tuple[str, Any]


class More:
    """Says that a candidate is not at its end yet."""


MORE = More()
Reading = list[Call] | More | None
Read = Callable[[str, bool], Reading]
Write = Callable[[str, dict[str, Any]], str]

#: marked: between markers, anywhere. ended: the message ends with it. fenced: a code fence that the
#: message ends with.
Kind = Literal["marked", "ended", "fenced"]


@dataclass(frozen=True)
class Dialect:
    """One form of a call in text. ``closes`` are texts at which it may end; without any it ends
    with the message. ``alive`` says of an unfinished one whether it can become a call."""

    name: str
    families: str
    openings: tuple[str, ...]
    closes: tuple[str, ...]
    read: Read
    write: Write
    kind: Kind = "marked"
    alive: Callable[[str], bool] | None = None


class Cut(dict[str, Any]):
    """Arguments that may not be all: nothing may be called with them."""


def dumps(value: Any) -> str:
    """JSON as models write it."""
    return json.dumps(value, ensure_ascii=False)


def shown(value: Any) -> str:
    """A value as it stands between tags: a text is itself."""
    return value if isinstance(value, str) else dumps(value)


def inner(text: str) -> str:
    """A value out of its tags, without the line breaks that only set it apart."""
    if text.startswith("\r\n"):
        text = text[2:]
    elif text.startswith("\n"):
        text = text[1:]
    if text.endswith("\n"):
        text = text[:-1].removesuffix("\r")
    return text


def strip_ends(text: str, openings: tuple[str, ...], closes: tuple[str, ...]) -> tuple[str, bool]:
    """What stands between opening and close, and whether the close was there."""
    opening = max((o for o in openings if text.startswith(o)), key=len, default="")
    body = text[len(opening) :]
    for close in sorted(closes, key=len, reverse=True):
        if body.rstrip().endswith(close):
            return body.rstrip()[: -len(close)], True
    return body, False
