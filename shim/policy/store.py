"""The policy in force: an edit counts from the next request on, a broken one changes nothing."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from .load import PolicyError, load_policy
from .schema import Policy

logger = logging.getLogger(__name__)


class PolicyStore:
    """Reads ``path`` again whenever the file has changed; no path means the empty policy."""

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path).expanduser().resolve() if path else None
        self.error: str | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._policy = Policy()
        if self.path:
            self._stamp = self._look()
            self._policy = load_policy(self.path)

    def current(self) -> Policy:
        """The newest policy that could be read; ``error`` says what is wrong with a newer one."""
        if self.path and (stamp := self._look()) != self._stamp:
            self._stamp = stamp
            try:
                self._policy = load_policy(self.path)
            except PolicyError as e:
                self.error = str(e)
                logger.warning("policy not changed: %s", e)
            else:
                self.error = None
                logger.info("policy read again: %s", self.path)
        return self._policy

    def _look(self) -> tuple[int, int, int] | None:
        assert self.path
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
