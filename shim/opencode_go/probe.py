"""Asks OpenCode Go for its models, and each model at both endpoints; hangs up at the first event.

So many at once, so long each, so long all together: what is not found out by then stays unknown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import httpx

from ..client import is_loopback
from .answers import (
    MOST_BYTES,
    PATHS,
    PROTOCOLS,
    Judged,
    Protocol,
    Stop,
    ask,
    error,
    first_event,
    headers,
    models,
    refusal,
    retry_after,
    whole,
)

#: Requests under way at once, and tries of each.
AT_ONCE = 6
_TRIES = 3
#: Seconds for one try, for a wait that is asked for, and for everything.
_PATIENCE, _LONGEST_WAIT, _ALL = 45.0, 30.0, 300.0
#: Seconds before the next try, where the answer does not say how long.
_WAITS = (1.0, 3.0, 9.0)
_LARGEST_LIST = 1 << 20

Found = dict[tuple[str, Protocol], Judged]
Sleep = Callable[[float], Awaitable[None]]


class Plan:
    """One account at ``base_url``; ``session`` names the conversation, as the plan demands."""

    def __init__(self, base_url: str, key: str, session: str, sleep: Sleep = asyncio.sleep) -> None:
        self._base = base_url.rstrip("/")
        self._key = key
        self._session = session
        self._sleep = sleep
        self._deadline = time.monotonic() + _ALL
        local = is_loopback(urlsplit(base_url).hostname or "")
        self._client = httpx.AsyncClient(trust_env=not local, timeout=_PATIENCE)

    async def close(self) -> None:
        """Let go of its connections."""
        await self._client.aclose()

    async def models(self) -> tuple[list[str], int]:
        """The ids it lists, and how many entries are of no use. Stop when it lists none."""
        for again in range(_TRIES):
            status, wait, raw = await self._list()
            if status == 200:
                return models(raw)
            last = again == _TRIES - 1 or (status != 429 and status < 500)
            if last or (wait or 0) > _LONGEST_WAIT:
                if status in (401, 403):
                    refusal(status, {}, raw)
                words = error(raw)[1]
                told = f": {words}" if words else ""
                later = f"; it asks to wait {wait:.0f} s" if wait else ""
                raise Stop(f"it does not list its models: status {status}{told}{later}")
            await self._sleep(_WAITS[again] if wait is None else wait)
        raise AssertionError("unreachable")

    async def _list(self) -> tuple[int, float | None, bytes]:
        url = f"{self._base}/models"
        raw = bytearray()
        try:
            async with asyncio.timeout(_PATIENCE):
                head = headers(self._key, "chat", self._session)
                async with self._client.stream("GET", url, headers=head) as answer:
                    async for piece in answer.aiter_bytes():
                        raw += piece
                        if len(raw) > _LARGEST_LIST:
                            raise Stop("its model list is larger than 1 MB")
        except TimeoutError:
            raise Stop(f"no answer within {_PATIENCE:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise Stop(f"it cannot be reached: {e or type(e).__name__}") from None
        return answer.status_code, retry_after(answer.headers), bytes(raw)

    async def probe(self, ids: list[str], done: Callable[[int, int], None]) -> Found:
        """What each model says at both endpoints; ``done`` gets how many of how many have."""
        places = asyncio.Semaphore(AT_ONCE)
        found: Found = {}
        total = len(ids) * len(PROTOCOLS)

        async def one(id: str, protocol: Protocol) -> None:
            async with places:
                found[id, protocol] = await self._judge(id, protocol)
            done(len(found), total)

        why: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for id in ids:
                    for protocol in PROTOCOLS:
                        group.create_task(one(id, protocol))
        except* Stop as stops:
            # One is enough to know.
            why = stops.exceptions[0]
        if why:
            raise why
        return found

    async def _judge(self, id: str, protocol: Protocol) -> Judged:
        judged = Judged("unknown", "there was no time left to ask")
        for again in range(_TRIES):
            left = self._deadline - time.monotonic()
            if left <= 0:
                break
            judged = await self._once(id, protocol, min(left, _PATIENCE))
            wait = _WAITS[again] if judged.wait is None else judged.wait
            if judged.verdict != "unknown" or again == _TRIES - 1 or wait > _LONGEST_WAIT:
                break
            await self._sleep(wait)
        return judged

    async def _once(self, id: str, protocol: Protocol, patience: float) -> Judged:
        url = self._base + PATHS[protocol]
        raw = bytearray()
        try:
            async with asyncio.timeout(patience):
                async with self._client.stream(
                    "POST",
                    url,
                    json=ask(id, protocol),
                    headers=headers(self._key, protocol, self._session),
                ) as answer:
                    async for piece in answer.aiter_bytes():
                        raw += piece
                        if answer.status_code == 200 and (
                            judged := first_event(protocol, bytes(raw))
                        ):
                            return judged
                        if len(raw) >= MOST_BYTES:
                            break
        except TimeoutError:
            return Judged("unknown", f"no answer within {patience:.0f} s")
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            return Judged("unknown", f"it cannot be reached: {e or type(e).__name__}")
        if answer.status_code == 200:
            return whole(protocol, bytes(raw))
        return refusal(answer.status_code, answer.headers, bytes(raw))
