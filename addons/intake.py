"""Intake: a request's body is read as a turn. It comes first; nothing is decided here."""

from __future__ import annotations

from addons.access import Access
from addons.services import Services
from addons.stage import Stage
from shim.exchange.intake import read_intake
from shim.exchange.replies import refusal
from shim.exchange.values import ClientRequest, Reply
from shim.exchange.values import Intake as Value
from shim.turn import WireError


class Intake(Stage):
    def __init__(self, services: Services, access: Access) -> None:
        self._policies = services.policies
        self._access = access

    async def intake(self, request: ClientRequest) -> Value | Reply:
        """The turn in ``request``, or the refusal that names what is wrong with it."""
        await self._policies.refresh()
        door = self._access.door
        if door.too_large(len(request.body)):
            return door.refuse_size(request)
        try:
            policy, keys = self._policies.in_force(), door.keys or ()
            return read_intake(request, policy, most=door.most, keys=keys)
        except WireError as e:
            return refusal(request.path, e.status, str(e), param=e.param)
