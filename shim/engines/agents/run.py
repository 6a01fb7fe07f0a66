"""What running a turn needs and tells, whichever agent it is."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from ...turn import Event
from .ask import Ask

#: Names of models, efforts and sessions: they may stand on a command line.
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")


class Session(msgspec.Struct, frozen=True):
    """The agent's own name for the session that the turn is part of."""

    name: str


class Activity(msgspec.Struct, frozen=True):
    """Something the agent does, in a line."""

    text: str


class Unknown(Exception):
    """The agent does not know the session any more: it must be told all again."""


Said = Event | Session | Activity


class Job(msgspec.Struct):
    """One turn for an agent: what is asked, in which ``session`` of it (None: a new one), with
    which image files, in which folder."""

    ask: Ask
    session: str | None
    images: list[Path]
    cwd: Path
    kept: bool = False

    @property
    def prompt(self) -> str:
        """What to say: all, or only what its session has not heard."""
        return self.ask.news if self.session else self.ask.prompt
