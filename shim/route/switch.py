"""The model that was switched to while the chain runs: by the picker, or by `interpose model use`.

It answers for names the policy does not know, and for those that stood for the default before:
what a session already open goes on asking for. It outlasts the chain where there is a file for it.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from ..policy.schema import Policy
from .decide import is_known

logger = logging.getLogger(__name__)

#: Names that led to the default once; older ones are asked for by no open session.
_MOST_NAMES = 20


class Switched(msgspec.Struct, frozen=True):
    """``model`` answers since ``at`` for what asks for one of ``instead``.

    ``before``: only in threads that began before then, in seconds since 1970; what began later
    names one of these by its own choice. None: in all threads.
    """

    model: str
    at: float
    instead: list[str] = []
    before: float | None = None

    def stands_for(self, name: str, began: float | None) -> bool:
        """Whether it answers a thread that ``began`` then and asks for ``name``."""
        if name not in self.instead:
            return False
        return self.before is None or (began is not None and began < self.before)


class Switch:
    """The switch of a chain. With a file, whoever writes it switches: the next turn follows."""

    def __init__(self, path: Path | None = None) -> None:
        self.open(path)

    def open(self, path: Path | None) -> None:
        """Follow ``path`` from now on; None: nothing is switched until `to` is called."""
        self.path = path
        self._stamp: tuple[int, int] | None = None
        self._now: Switched | None = None

    def now(self) -> Switched | None:
        """What was switched to; None when nothing was."""
        if self.path and (stamp := _stamp(self.path)) != self._stamp:
            self._stamp, self._now = stamp, read(self.path)
        return self._now

    def default(self, policy: Policy) -> str | None:
        """The model that answers for unknown names; None when the policy's own does."""
        now = self.now()
        return now.model if now and is_known(policy, now.model) else None

    def to(self, switched: Switched) -> None:
        """Switch."""
        if self.path:
            write(self.path, switched)
        else:
            self._now = switched


def after(
    last: Switched | None, model: str, had: list[str | None], at: float, only_older: bool
) -> Switched:
    """The switch to ``model``. ``had``: what led to the default until now, as Codex's config and
    the policy call it; ``only_older``: new sessions ask for ``model`` by themselves."""
    names = [*(last.instead if last else ()), last.model if last else None, *had]
    kept = [name for name in dict.fromkeys(names) if name and name != model]
    return Switched(model, at, kept[-_MOST_NAMES:], at if only_older else None)


def read(path: Path) -> Switched | None:
    """What the file says; None when there is none, or it is none of ours."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Switched)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as e:
        logger.warning("%s cannot be read (%s): as if nothing had been switched", path, e)
        return None


def write(path: Path, switched: Switched) -> None:
    """Replace the file at once. ConfigError when it cannot be written."""
    from ..codex import edit  # which the way of a turn does not need

    edit.write(path, msgspec.json.encode(switched) + b"\n")


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
