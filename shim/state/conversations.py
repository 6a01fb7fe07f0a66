"""Stored responses of clients, and the conversations that they continue.

Each entry holds what its own turn brought and names the one before it, so a long conversation is
kept once, not once per turn. Reading and writing happens beside the event loop; what waits to be
written can be read already.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec

from .store import Memory, Store

logger = logging.getLogger(__name__)
_T = TypeVar("_T")
#: Takes out of a text what must not be written down.
Clean = Callable[[bytes], bytes]


class Kept(msgspec.Struct, array_like=True):
    """One stored response, and the input and output items of its turn as JSON without brackets.

    ``mark`` is this entry's own: upstreams give ids twice, and a conversation must not be continued
    on another one's. ``compacted``: the output stands for all that came before it.
    """

    response: bytes
    input: bytes
    output: bytes
    mark: str = msgspec.field(default_factory=lambda: secrets.token_hex(8))
    parent: tuple[str, str] | None = None
    compacted: bool = False


class Gone(Exception):
    """A response that a conversation needs is not stored (any more); ``id`` says which."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id


class History(msgspec.Struct):
    """A conversation up to one response: its items as JSON, and the entries they come from."""

    items: list[bytes]
    ids: list[str]
    mark: str


_kept = msgspec.msgpack.Decoder(Kept)


class Conversations:
    """Stored responses by owner and id, in ``store``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, tuple[Kept, Clean]] = {}
        self._task: asyncio.Task[None] | None = None

    def keep(self, owner: str, id: str, kept: Kept, clean: Clean = bytes) -> None:
        """Keep ``kept``; it can be found at once, and waits to be written, made ``clean``."""
        self._waiting[_key(owner, id)] = (kept, clean)

    def write_soon(self) -> None:
        """Have what waits written beside the event loop."""
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._write())

    async def find(self, owner: str, id: str) -> Kept | None:
        """The response ``id`` of ``owner``; None when it is not stored."""
        return await asyncio.to_thread(self._get, _key(owner, id))

    async def history(self, owner: str, id: str) -> History:
        """The conversation up to and with the response ``id``; Gone when part of it is missing."""
        return await asyncio.to_thread(self._walk, owner, id)

    async def drop(self, owner: str, id: str) -> bool:
        """Forget the response ``id``; whether it was there."""
        key = _key(owner, id)
        there = self._waiting.pop(key, None) is not None
        await self.settle()
        return await self._guarded(lambda: self._store.delete(key)) or there

    async def settle(self) -> None:
        """Wait until everything kept so far is written."""
        self.write_soon()
        while self._task and not self._task.done():
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Write what is waiting and let go of the store."""
        await self.settle()
        await asyncio.to_thread(self._store.close)

    def _get(self, key: str) -> Kept | None:
        if (waiting := self._waiting.get(key)) is not None:
            return waiting[0]
        try:
            found = self._store.get(key)
        except (OSError, sqlite3.Error) as e:
            logger.error("stored responses cannot be read: %s", e)
            return None
        return None if found is None else _kept.decode(found)

    def _walk(self, owner: str, id: str) -> History:
        pieces: list[bytes] = []
        ids: list[str] = []
        mark, last = "", None
        at: str | None = id
        while at is not None:
            kept = self._get(_key(owner, at))
            if kept is None or at in ids or (last and kept.mark != last):
                raise Gone(at)
            mark = mark or kept.mark
            ids.append(at)
            pieces += [kept.output] if kept.compacted else [kept.output, kept.input]
            at, last = kept.parent if kept.parent and not kept.compacted else (None, None)
        return History([p for p in reversed(pieces) if p], ids, mark)

    async def _write(self) -> None:
        while self._waiting:
            key, entry = next(iter(self._waiting.items()))
            await self._guarded(partial(self._put, key, *entry))
            if self._waiting.get(key) is entry:
                del self._waiting[key]

    def _put(self, key: str, kept: Kept, clean: Clean) -> None:
        texts = {name: clean(getattr(kept, name)) for name in ("response", "input", "output")}
        self._store.put(key, msgspec.msgpack.encode(msgspec.structs.replace(kept, **texts)))

    async def _guarded(self, work: Callable[[], _T]) -> _T:
        """What ``work`` gives; where the file cannot be used, it is done again in memory."""
        try:
            return await asyncio.to_thread(work)
        except (OSError, sqlite3.Error) as e:
            logger.error("responses are stored in memory only: %s", e)
            self._store = Memory()
            return work()


def _key(owner: str, id: str) -> str:
    return f"{owner}/{id}"
