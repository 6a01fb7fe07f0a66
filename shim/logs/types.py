"""What a session log is read into: sessions, and their requests, which are built when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import msgspec

from ..turn import Usage


class LogError(Exception):
    """A file that is no session log or cannot be opened; ``line`` is 0 where none is at fault."""

    def __init__(self, path: Path, line: int, why: str) -> None:
        super().__init__(f"{path}:{line}: {why}" if line else f"{path}: {why}")
        self.path = path
        self.line = line
        self.why = why


class LoggedTurn(msgspec.Struct, frozen=True):
    """One request to a model, as its log tells it.

    ``body`` is JSON in the client's protocol; what the log does not hold is left out. ``when`` is
    in seconds since 1970; ``usage`` is there where the log says what the provider counted.
    """

    body: bytes
    when: float | None
    usage: Usage | None


class Recipe(msgspec.Struct):
    """What one request is built from.

    ``fields`` and ``elements`` are ready JSON. The list is shared with other requests of the
    session and may grow; this request has its first ``end`` elements, under the name ``key``.
    """

    fields: dict[str, bytes]
    key: str
    elements: list[bytes]
    end: int
    when: float | None = None
    usage: Usage | None = None

    def turn(self) -> LoggedTurn:
        """The request."""
        listed = b"[" + b",".join(self.elements[: self.end]) + b"]"
        return LoggedTurn(json_object({**self.fields, self.key: listed}), self.when, self.usage)


class Turns(Sequence[LoggedTurn]):
    """The requests of a session, each built anew when it is asked for: all at once, the histories
    would take memory by the square of the session's length."""

    def __init__(self, recipes: Sequence[Recipe]) -> None:
        self._recipes = recipes

    def __len__(self) -> int:
        return len(self._recipes)

    @overload
    def __getitem__(self, index: int) -> LoggedTurn: ...
    @overload
    def __getitem__(self, index: slice) -> Turns: ...
    def __getitem__(self, index: int | slice) -> LoggedTurn | Turns:
        if isinstance(index, slice):
            return Turns(self._recipes[index])
        return self._recipes[index].turn()


class Session(msgspec.Struct, frozen=True):
    """One conversation of a log file.

    ``name`` is the file's stem, and for a sub-agent whose lines stand in its parent's file the stem
    and its id; ``client`` is ``codex`` or ``claude-code``, ``protocol`` ``responses`` or
    ``messages``; ``notes`` say what could not be read, and where.
    """

    name: str
    path: str
    client: str
    protocol: str
    turns: Sequence[LoggedTurn]
    notes: list[str]


def json_object(fields: dict[str, bytes]) -> bytes:
    """A JSON object of values that are JSON already."""
    return b"{" + b",".join(b'"%s":%s' % (k.encode(), v) for k, v in fields.items()) + b"}"
