"""Intake: a request's body is read as a turn. It comes first; nothing is decided here."""

from __future__ import annotations

import asyncio
from functools import partial

from addons.access import Access
from addons.services import Services
from addons.stage import Stage
from shim.exchange.intake import read_intake
from shim.exchange.replies import refusal
from shim.exchange.values import ClientRequest, Reply
from shim.exchange.values import Intake as Value
from shim.turn import WireError

#: Above this many bytes a request is read beside the event loop, so that streams flow on. What is
#: encoded tells its size only as it is unpacked.
_BIG = 1024 * 1024


class Intake(Stage):
    def __init__(self, services: Services, access: Access) -> None:
        self._services, self._policies = services, services.policies
        self._access = access

    async def intake(self, request: ClientRequest) -> Value | Reply:
        """The turn in ``request``, or the refusal that names what is wrong with it."""
        await self._policies.refresh()
        door, policy = self._access.door, self._policies.in_force()
        if door.limit.exceeded(len(request.body)):
            return door.refuse_size(request)
        read = partial(read_intake, request, policy, limit=door.limit, keys=self._services.keys())
        try:
            if len(request.body) > _BIG or "content-encoding" in request.headers:
                return await asyncio.to_thread(read)
            return read()
        except WireError as e:
            return refusal(request.path, e.status, str(e), param=e.param)
