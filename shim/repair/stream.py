"""Calls in the text of a stream: text flows on at once, from an opening tag on it is held until the
closing one; then a call leaves, or the text as it came.

At most an opening's length is held where none may be; at most 256 KB are held in a call.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from types import ModuleType

import msgspec

from ..turn import CallDelta, CallStart, Event, Failure, Finish, Text
from . import hermes

#: How a policy calls the forms there are.
DIALECTS: dict[str, ModuleType] = {"hermes": hermes}
_MOST = 256 * 1024
#: Keys of calls from text, beyond those that an upstream counts.
_FIRST_KEY = 1 << 20


class TextCalls:
    """Makes calls of text in a dialect. ``offered`` are the names that may be called; ``seed``
    makes the ids, and is asked for when the first call is there."""

    def __init__(self, dialect: str, offered: Container[str], seed: Callable[[], str]) -> None:
        self._dialect = DIALECTS[dialect]
        self._offered = offered
        self._seed = seed
        self._text = ""
        self._holds = False
        self._made = 0
        self._native = False

    def filter(self, events: list[Event]) -> list[Event]:
        """``events``, with calls in the place of what stood for them."""
        out: list[Event] = []
        for event in events:
            if isinstance(event, Text):
                self._text += event.text
                self._look(out)
            elif isinstance(event, CallStart):
                # A model that calls as it should means its text as text.
                self._native = True
                self._release(out)
                out.append(event)
            elif isinstance(event, Finish | Failure):
                self._release(out)
                if isinstance(event, Finish) and event.reason == "stop" and self._made:
                    event = msgspec.structs.replace(event, reason="tool_calls")
                out.append(event)
            else:
                out.append(event)
        return out

    def _look(self, out: list[Event]) -> None:
        opening, closing = self._dialect.OPEN, self._dialect.CLOSE
        while self._text:
            if self._native:
                self._release(out)
            elif not self._holds:
                at = self._text.find(opening)
                self._holds = at >= 0
                if at < 0:
                    at = len(self._text) - _overlap(self._text, opening)
                self._say(self._text[:at], out)
                self._text = self._text[at:]
                if not self._holds:
                    return
            else:
                end = self._text.find(closing)
                if end < 0:
                    if len(self._text) > _MOST:
                        self._release(out)
                    return
                whole, self._text = (
                    self._text[: end + len(closing)],
                    self._text[end + len(closing) :],
                )
                self._holds = False
                self._call(whole, whole[len(opening) : end], out)

    def _call(self, whole: str, inner: str, out: list[Event]) -> None:
        found = self._dialect.parse(inner)
        if found is None or found[0] not in self._offered:
            self._say(whole, out)
            return
        key = _FIRST_KEY + self._made
        self._made += 1
        out.append(CallStart(key, f"call_{self._seed()[:16]}_{self._made}", found[0]))
        out.append(CallDelta(key, found[1]))

    def _release(self, out: list[Event]) -> None:
        self._say(self._text, out)
        self._text, self._holds = "", False

    def _say(self, text: str, out: list[Event]) -> None:
        # What stands between calls is for nobody.
        if text and not (self._made and not text.strip()):
            out.append(Text(text))


def _overlap(text: str, opening: str) -> int:
    """How much of the end of ``text`` may be the beginning of ``opening``."""
    for size in range(min(len(opening) - 1, len(text)), 0, -1):
        if opening.startswith(text[-size:]):
            return size
    return 0
