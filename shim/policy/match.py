"""How the words of a rule are compared: names with ``*``, patterns, texts found in one pass."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

import re2

#: What only holds at the ends of a text. An escaped one is taken for one too: that is safe.
ANCHORS = re.compile(r"[\^$]|\\[AzZ]")


def pattern_options() -> Any:
    """How patterns are compiled: quiet, and with room for many in one set."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 256 << 20
    return options


def fits(names: str | list[str] | None, value: str | None) -> bool:
    """Whether ``value`` is one of ``names``; None means any, ``*`` stands for any part of one."""
    if names is None:
        return True
    if value is None:
        return False
    wanted = (names,) if isinstance(names, str) else names
    return any(value == n or ("*" in n and fnmatch.fnmatchcase(value, n)) for n in wanted)


class Needles:
    """Texts and patterns that are looked for together: the time depends on the text searched,
    hardly on how many there are."""

    def __init__(self) -> None:
        self._set = re2.Set.SearchSet(pattern_options())
        self._count = 0
        self._anchored = False

    def text(self, text: str) -> int:
        """Look for ``text``; its number."""
        self._count += 1
        return int(self._set.Add(re2.escape(text)))

    def pattern(self, pattern: str) -> int:
        """Look for ``pattern``; its number."""
        self._count += 1
        self._anchored = self._anchored or bool(ANCHORS.search(pattern))
        return int(self._set.Add(pattern))

    def done(self) -> None:
        """All are there."""
        if self._count:
            self._set.Compile()

    def anywhere(self, texts: list[str]) -> bool:
        """Whether one of ``texts`` may hold one of them: much quicker than looking at each."""
        if not self._count or self._anchored:
            # The ends of a text are lost where several are joined.
            return bool(self._count)
        return self._set.Match("\n".join(texts)) is not None

    def found(self, text: str) -> set[int]:
        """The numbers of those that are in ``text``."""
        return set(self._set.Match(text) or ()) if self._count else set()
