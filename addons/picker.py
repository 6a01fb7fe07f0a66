"""The picker: a page on which the model is chosen, and what it asks of the chain."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from addons.services import Services
from addons.stage import Stage
from shim.exchange.replies import refusal
from shim.exchange.values import Access, ClientRequest, Reply
from shim.live import picker
from shim.live.guard import Guard, Refused, Wanted
from shim.live.sums import short
from shim.policy.load import nearest
from shim.policy.schema import Policy
from shim.route.decide import is_known
from shim.route.switch import after

_JSON = {"content-type": "application/json", "cache-control": "no-store"}
_NO_POLICY = "no policy, so there is no model to choose; models pass by their own names"


class Picker(Stage):
    def __init__(self, services: Services) -> None:
        self._services = services
        self._guard = Guard()
        self._restarted = ""

    async def page(self, access: Access) -> Reply | None:
        if access.page not in ("/picker", "/api/models", "/api/switch"):
            return None
        policy = self._services.policies.current()
        if access.page == "/api/switch":
            return await self._switch(access.request, policy)
        if policy.empty:
            return refusal(access.request.path, 404, _NO_POLICY)
        if access.page == "/picker":
            body, headers = picker.render(await self._page(policy), self._guard.token)
            return Reply(200, headers, body)
        return Reply(200, _JSON, await self._listed(policy))

    async def _switch(self, request: ClientRequest, policy: Policy) -> Reply:
        headers = {**request.headers, "host": request.authority}
        try:
            wanted, form = self._guard.take(headers, request.body)
            await self._to(wanted, form, policy, request.local[2])
        except Refused as e:
            if not e.page or policy.empty:
                return refusal(request.path, e.status, str(e))
            page = await self._page(policy)
            body, fields = picker.render(page, self._guard.token, str(e))
            return Reply(e.status, fields, body)
        if form:
            # So that loading the page again sends nothing again.
            return Reply(303, {"location": "/picker"}, b"")
        return Reply(200, _JSON, await self._listed(policy))

    async def _to(self, wanted: Wanted, form: bool, policy: Policy, port: int) -> None:
        if policy.empty:
            raise Refused(404, _NO_POLICY)
        if not is_known(policy, wanted.model):
            said = f"the policy has no model {short(wanted.model)}"
            raise Refused(400, said + nearest(wanted.model, policy.models), form)
        self._restarted = ""
        if files := self._services.daemon():
            from shim.codex.config import ConfigError
            from shim.daemon.use import use

            url = f"http://127.0.0.1:{port}/v1"
            try:
                await asyncio.to_thread(use, wanted.model, url, files, policy, enable=False)
            except ConfigError as e:
                raise Refused(409, str(e), form) from None
        else:
            switch = self._services.switch
            had = [self._services.default(policy) or policy.default]
            switch.to(after(switch.now(), wanted.model, had, time.time(), only_older=False))
        if wanted.restart:
            self._restarted = await asyncio.to_thread(_restart)

    async def _listed(self, policy: Policy) -> bytes:
        return msgspec.json.encode(await self._page(policy))

    async def _page(self, policy: Policy) -> dict[str, Any]:
        """What the page shows, as plain fields."""
        services = self._services
        chosen = services.default(policy) or policy.default
        page: dict[str, Any] = {
            "chosen": chosen,
            "default": policy.default,
            "switched": services.switch.now(),
            "codex": await asyncio.to_thread(self._codex),
            "can_restart": sys.platform == "darwin",
            "restarted": self._restarted,
            "models": picker.rows(
                policy, chosen, services.breakers.page(), services.metrics.spent()
            ),
        }
        page["says"] = picker.says(page)
        return page

    def _codex(self) -> dict[str, str | None] | None:
        """What Codex's own config says of the model; None for a chain that is not the daemon's."""
        if not self._services.daemon():
            return None
        from shim.codex import edit
        from shim.codex.config import ConfigError
        from shim.codex.where import config_file
        from shim.daemon.use import current_model

        file = config_file()
        try:
            asks = current_model(edit.read(file) or b"", str(file))
        except ConfigError:
            asks = None
        return {"file": _from_home(file), "asks_for": asks}


def _from_home(file: Path) -> str:
    home = Path.home()
    return f"~/{file.relative_to(home).as_posix()}" if file.is_relative_to(home) else str(file)


def _restart() -> str:
    if sys.platform != "darwin":
        return "Codex Desktop was not restarted: that can be done from here on macOS only."
    from shim.codex.launch import restart

    return restart()
