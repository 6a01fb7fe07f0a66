"""Keys that a model spells in several events: the client gets a mark in their place.

Strategy: what begins as a key does is held back until it is one, or is none. The first characters
of a key may have left by then: they tell nothing, and pieces that end as they do are many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

#: So many characters are taken for the beginning of a key; fewer may leave.
_TELLING = 4
#: Of what turns out to be no whole key at the end of a text, so many characters are let go.
_MOST = 8


class Spelled:
    """``keys`` in the place of masks, for `UnmaskStream`; ``mark`` stands for each."""

    names: dict[str, str] = {}
    thinks = False

    def __init__(self, keys: Iterable[str], mark: str) -> None:
        self._mark = mark
        self._keys = [key for key in keys if len(key) > _MOST]
        # Behind what has left a piece begins with the rest.
        self._rests = [key[left:] for key in self._keys for left in range(1, _TELLING)]
        wholes = [re.escape(key) for key in self._keys]
        wholes += [f"^{re.escape(rest)}" for rest in self._rests]
        self._whole = re.compile("|".join(wholes) or r"(?!)")
        begins = [key[:_TELLING].encode() for key in self._keys]
        begins += [b'"' + rest[:_TELLING].encode() for rest in self._rests]
        #: What an event that may hold a key, or the beginning of one, does not lack.
        self.begins = tuple(dict.fromkeys(begins))

    def near(self, raw: bytes) -> bool:
        """Whether an event may hold a key, or the beginning of one."""
        return any(word in raw for word in self.begins)

    def split(self, text: str, *, inside_json: bool) -> tuple[str, str]:
        """(what may leave, what may be the beginning of a key)."""
        made = self._whole.sub(self._mark, text)
        goes_on = len(text) >= _TELLING and any(rest.startswith(text) for rest in self._rests)
        if goes_on and made == text:
            return "", text
        sizes = (_ends_as(key, made) for key in self._keys)
        at = len(made) - max(sizes, default=0)
        return made[:at], made[at:]

    def let_go(self, held: str) -> str:
        """What leaves of what was ``held``, where nothing follows."""
        return held if len(held) <= _MOST else self._mark

    def value(self, value: Any) -> Any:
        """What an event tells as a whole is looked at as the bytes it is."""
        return value

    def think(self, signature: Any, thought: Any) -> None:
        """No thought is remembered."""


def _ends_as(key: str, text: str) -> int:
    """How many characters of ``key`` end ``text``, where they are enough to tell."""
    sizes = range(min(len(key) - 1, len(text)), _TELLING - 1, -1)
    return next((size for size in sizes if text.endswith(key[:size])), 0)
