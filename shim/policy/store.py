"""The policy in force: an edit counts from the next request on, a broken one changes nothing.

What edits prompts (catch, tools, redact) stays as it was for a thread that has begun, unless the
policy says ``apply: now``: rewriting what was already sent costs the provider's prompt cache.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from .inforce import InForce
from .load import PolicyError, load_policy_files
from .schema import Policy

logger = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int] | None, ...]
#: Policies that threads under way may still stand under.
_MOST_VERSIONS = 16
_MOST_THREADS = 10_000


class PolicyStore:
    """Reads ``path`` again whenever it or a file it names has changed; no path: the empty policy.

    ``clock`` tells seconds since 1970.
    """

    def __init__(
        self, path: str | Path | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._threads: OrderedDict[str, InForce] = OrderedDict()
        self.open(path)

    def open(self, path: str | Path | None) -> None:
        """Read ``path`` from now on, in the place of what was read before. PolicyError leaves that
        as it was."""
        resolved = Path(path).expanduser().resolve() if path else None
        policy, files = load_policy_files(resolved) if resolved else (Policy(), [])
        self.path, self._files = resolved, files
        self.error: str | None = None
        self._versions = [InForce(policy)]
        self._threads.clear()
        self._stamp: _Stamp = self._look()

    def current(self) -> Policy:
        """The newest policy that could be read; ``error`` says what is wrong with a newer one."""
        return self.in_force().policy

    def in_force(self) -> InForce:
        """The newest policy that could be read, compiled."""
        if self.path and (stamp := self._look()) != self._stamp:
            self._take(stamp, self._read())
        return self._versions[-1]

    @property
    def decides(self) -> bool:
        """Whether more than a model's name may decide on a turn's way."""
        return any(version.decides for version in self._versions)

    @property
    def keys(self) -> frozenset[str]:
        """The keys of all of them: a thread under way may stand under an older one."""
        newest = self.in_force().keys
        older = self._versions[:-1]
        return newest.union(*(version.keys for version in older)) if older else newest

    @property
    def asks_project(self) -> bool:
        """Whether one of them is about the folder an agent works in."""
        return any(version.asks_project for version in self._versions)

    async def refresh(self) -> None:
        """Read an edited file beside the event loop, so that streams flow on."""
        if self.path and (stamp := self._look()) != self._stamp:
            self._stamp = stamp
            self._take(stamp, await asyncio.to_thread(self._read))

    def reload(self) -> None:
        """Read the file now; ``error`` says what is wrong with it."""
        if self.path:
            self._take(self._look(), self._read())

    def use(self, policy: Policy) -> None:
        """Let ``policy`` alone be in force, for every thread."""
        self._versions = [InForce(policy)]
        self._threads.clear()

    def put(self, policy: Policy | InForce) -> None:
        """Put ``policy`` in force from now on."""
        made = policy if isinstance(policy, InForce) else InForce(policy)
        made.since = self._clock()
        self._versions = [*self._versions[1 - _MOST_VERSIONS :], made]

    def for_thread(self, thread: str, began: float | None) -> InForce:
        """What stands for the prompt of a thread that ``began`` then (seconds since 1970); where
        nobody knows, the policy under which it was first seen."""
        newest = self.in_force()
        if newest.policy.apply == "now" or len(self._versions) == 1 or not thread:
            return self._first_seen(thread, newest) if thread and began is None else newest
        if began is None:
            return self._first_seen(thread, newest)
        older = [v for v in self._versions if v.since <= began]
        return older[-1] if older else self._versions[0]

    def _first_seen(self, thread: str, newest: InForce) -> InForce:
        kept = newest if newest.policy.apply == "now" else self._threads.get(thread, newest)
        self._threads[thread] = kept
        self._threads.move_to_end(thread)
        if len(self._threads) > _MOST_THREADS:
            self._threads.popitem(last=False)
        return kept

    def _read(self) -> tuple[InForce, list[Path]] | PolicyError:
        assert self.path
        try:
            policy, files = load_policy_files(self.path)
        except PolicyError as e:
            return e
        made = InForce(policy)
        # Compiled where it was read: no turn waits for it.
        _ = made.catch, made.routes, made.keys
        return made, files

    def _take(self, stamp: _Stamp, read: tuple[InForce, list[Path]] | PolicyError) -> None:
        self._stamp = stamp
        if isinstance(read, PolicyError):
            self.error = str(read)
            logger.warning("policy not changed: %s", read)
            return
        made, self._files = read
        self._stamp = self._look()
        self.error = None
        if made.policy != self._versions[-1].policy:
            self.put(made)
        logger.info("policy read again: %s", self.path)

    def _look(self) -> _Stamp:
        return tuple(_stamp(file) for file in self._files)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
