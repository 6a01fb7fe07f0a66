"""What an agent's turn says, as the answer of a model: a stream or one piece."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...tools.bridge import Bridge
from ...turn import Event, Failure, Finish, KeepAlive, Started, Turn
from ...wire.protocols import codec
from .process import FAILED, AgentError

#: Seconds without a word after which the stream begins, and is kept alive.
_QUIET = 10.0


class Answer:
    """Reads what ``work`` puts into ``said``. To stop reading before the end ends the turn."""

    def __init__(self, said: asyncio.Queue[Event], work: asyncio.Task[None], turn: Turn) -> None:
        self._said, self._work = said, work
        self._over = False
        self._encoder = codec("chat").encoder(
            turn=turn, model=turn.model, provider="agent", bridge=Bridge([]), codex=False
        )

    async def first(self, request: Request) -> Event:
        """The first event, or a KeepAlive when it takes long. AgentError when the client leaves."""
        return await self._unless_left(request)

    async def stream(self, first: Event) -> AsyncIterator[bytes]:
        """The stream from the event ``first`` on."""
        try:
            yield self._begin()
            event = first
            while True:
                yield self._encoder.encode([event])
                if self._over:
                    return
                event = await self._next()
        finally:
            self._stop()

    async def whole(self, request: Request, first: Event) -> Response:
        """The answer in one piece, from the event ``first`` on."""
        try:
            self._begin()
            event = first
            while not self._over:
                self._encoder.encode([event])
                event = await self._unless_left(request)
            if isinstance(event, Failure):
                raise AgentError(event.message, event.status or FAILED, event.code)
            self._encoder.encode([event])
            return JSONResponse(self._encoder.response)
        finally:
            self._stop()

    def _begin(self) -> bytes:
        return self._encoder.encode([Started(secrets.token_hex(12), int(time.time()))])

    def _stop(self) -> None:
        # One that has said all may still have something to write down.
        if not self._over:
            self._work.cancel()

    async def _next(self) -> Event:
        event = await self._told()
        self._over = isinstance(event, Finish | Failure)
        return event

    async def _told(self) -> Event:
        if not self._said.empty():
            return self._said.get_nowait()
        waiting = asyncio.create_task(self._said.get())
        try:
            await asyncio.wait(
                {waiting, self._work}, timeout=_QUIET, return_when=asyncio.FIRST_COMPLETED
            )
            if waiting.done():
                return waiting.result()
        finally:
            waiting.cancel()
        if not self._said.empty():
            return self._said.get_nowait()
        if self._work.done():
            return Failure("interpose: the turn was ended", FAILED, "agent_failed")
        return KeepAlive()

    async def _unless_left(self, request: Request) -> Event:
        wanted = asyncio.create_task(self._next())
        leaves = asyncio.create_task(_left(request))
        try:
            await asyncio.wait({wanted, leaves}, return_when=asyncio.FIRST_COMPLETED)
            if not wanted.done():
                raise AgentError("the client left", 499)
            return wanted.result()
        finally:
            wanted.cancel()
            leaves.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
