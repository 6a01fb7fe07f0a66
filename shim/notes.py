"""What a stage decided about a turn, typed, so that nobody reads it back out of a sentence."""

from __future__ import annotations

import msgspec


class Note(msgspec.Struct, frozen=True):
    """One thing that ``stage`` decided: ``code`` for programs, ``text`` for people."""

    stage: str
    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.text}"
