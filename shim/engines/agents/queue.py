"""Which turn may run: so many at a time, and those of one session in the order they came in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .process import AgentError


class Queue:
    """Slots of one agent. The first that waits and whose session is free gets the next one."""

    def __init__(self, slots: int, most_waiting: int) -> None:
        self.slots, self.most_waiting = slots, most_waiting
        self.running = 0
        self._busy: set[str] = set()
        #: Who waits, of which session, in the order they came in.
        self._waiting: dict[asyncio.Future[None], str] = {}

    @asynccontextmanager
    async def turn(self, session: str) -> AsyncIterator[None]:
        """Run a turn inside; ``session`` is empty for one of its own. AgentError 429 when full."""
        if len(self._waiting) >= self.most_waiting and not self._free(session):
            said = f"{self.running} turns are under way and {len(self._waiting)} wait; try later"
            raise AgentError(said, 429, "queue_full")
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = session
        self._wake()
        try:
            await future
        except asyncio.CancelledError:
            # Woken and cancelled at once, it has a slot; else it may be gone from the list already.
            if future.done() and not future.cancelled():
                self._leave(session)
            else:
                self._waiting.pop(future, None)
            raise
        try:
            yield
        finally:
            self._leave(session)

    def _free(self, session: str) -> bool:
        earlier = session in self._waiting.values() if session else False
        return self.running < self.slots and session not in self._busy and not earlier

    def _leave(self, session: str) -> None:
        self.running -= 1
        self._busy.discard(session)
        self._wake()

    def _wake(self) -> None:
        for future, session in list(self._waiting.items()):
            if self.running >= self.slots:
                return
            if future.cancelled():
                del self._waiting[future]
                continue
            if session in self._busy:
                continue
            del self._waiting[future]
            self.running += 1
            if session:
                self._busy.add(session)
            future.set_result(None)
