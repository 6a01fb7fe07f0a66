"""Which turn may run: so many at a time, and those of one session in the order they came in."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .process import AgentError


class Queue:
    """Slots of one agent. The first that waits and whose session is free gets the next one."""

    def __init__(self, slots: int, most_waiting: int) -> None:
        self.slots, self.most_waiting = slots, most_waiting
        self._running = 0
        self._busy: set[str] = set()
        #: Per session, who waits; sessions in the order in which their next one came.
        self._waiting: OrderedDict[asyncio.Future[None], str] = OrderedDict()

    @asynccontextmanager
    async def turn(self, session: str) -> AsyncIterator[None]:
        """Run a turn inside; ``session`` is empty for one of its own. AgentError 429 when full."""
        if len(self._waiting) >= self.most_waiting and not self._free(session):
            said = f"{self._running} turns are under way and {len(self._waiting)} wait; try later"
            raise AgentError(said, 429, "queue_full")
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = session
        self._wake()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._leave(session)
            else:
                del self._waiting[future]
            raise
        try:
            yield
        finally:
            self._leave(session)

    def _free(self, session: str) -> bool:
        earlier = session in self._waiting.values() if session else False
        return self._running < self.slots and session not in self._busy and not earlier

    def _leave(self, session: str) -> None:
        self._running -= 1
        self._busy.discard(session)
        self._wake()

    def _wake(self) -> None:
        blocked: deque[str] = deque()
        for future, session in list(self._waiting.items()):
            if self._running >= self.slots:
                return
            if session and (session in self._busy or session in blocked):
                blocked.append(session)
                continue
            del self._waiting[future]
            if future.cancelled():
                continue
            self._running += 1
            if session:
                self._busy.add(session)
            future.set_result(None)
