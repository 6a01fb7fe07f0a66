"""The picker: a page on which the model is chosen, and what it asks of the chain."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from mitmproxy import http

from addons.exchange import PAGE, Chain, plain, refuse
from shim.live import picker
from shim.live.guard import Guard, Refused, Wanted
from shim.live.sums import short
from shim.policy.load import nearest
from shim.policy.schema import Policy
from shim.route.decide import is_known
from shim.route.switch import after

_JSON = {"content-type": "application/json", "cache-control": "no-store"}
_NO_POLICY = "no policy, so there is no model to choose; models pass by their own names"


class Picker:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._guard = Guard()
        self._restarted = ""

    async def request(self, flow: http.HTTPFlow) -> None:
        what = flow.metadata.get(PAGE)
        if flow.response or what not in ("/picker", "/api/models", "/api/switch"):
            return
        policy = self._chain.policies.current()
        if what == "/api/switch":
            await self._switch(flow, policy)
        elif policy.empty:
            refuse(flow, 404, _NO_POLICY)
        elif what == "/picker":
            body, headers = picker.render(await self._page(policy), self._guard.token)
            flow.response = http.Response.make(200, body, headers)
        else:
            flow.response = http.Response.make(200, await self._listed(policy), _JSON)

    async def _switch(self, flow: http.HTTPFlow, policy: Policy) -> None:
        request = flow.request
        headers = {**plain(request.headers), "host": request.host_header or ""}
        try:
            wanted, form = self._guard.take(headers, request.raw_content or b"")
            await self._to(wanted, form, policy, int(flow.client_conn.sockname[1]))
        except Refused as e:
            if not e.page or policy.empty:
                refuse(flow, e.status, str(e))
                return
            page = await self._page(policy)
            body, told = picker.render(page, self._guard.token, str(e))
            flow.response = http.Response.make(e.status, body, told)
            return
        if form:
            # So that loading the page again sends nothing again.
            flow.response = http.Response.make(303, b"", {"location": "/picker"})
        else:
            flow.response = http.Response.make(200, await self._listed(policy), _JSON)

    async def _to(self, wanted: Wanted, form: bool, policy: Policy, port: int) -> None:
        if policy.empty:
            raise Refused(404, _NO_POLICY)
        if not is_known(policy, wanted.model):
            said = f"the policy has no model {short(wanted.model)}"
            raise Refused(400, said + nearest(wanted.model, policy.models), form)
        self._restarted = ""
        if files := self._chain.daemon():
            from shim.codex.config import ConfigError
            from shim.daemon.use import use

            url = f"http://127.0.0.1:{port}/v1"
            try:
                await asyncio.to_thread(use, wanted.model, url, files, policy, enable=False)
            except ConfigError as e:
                raise Refused(409, str(e), form) from None
        else:
            switch = self._chain.switch
            had = [self._chain.default(policy) or policy.default]
            switch.to(after(switch.now(), wanted.model, had, time.time(), only_older=False))
        if wanted.restart:
            self._restarted = await asyncio.to_thread(_restart)

    async def _listed(self, policy: Policy) -> bytes:
        return msgspec.json.encode(await self._page(policy))

    async def _page(self, policy: Policy) -> dict[str, Any]:
        """What the page shows, as plain fields."""
        chain = self._chain
        chosen = chain.default(policy) or policy.default
        page: dict[str, Any] = {
            "chosen": chosen,
            "default": policy.default,
            "switched": chain.switch.now(),
            "codex": await asyncio.to_thread(self._codex),
            "can_restart": sys.platform == "darwin",
            "restarted": self._restarted,
            "models": picker.rows(policy, chosen, chain.breakers.page(), chain.metrics.spent()),
        }
        page["says"] = picker.says(page)
        return page

    def _codex(self) -> dict[str, str | None] | None:
        """What Codex's own config says of the model; None for a chain that is not the daemon's."""
        if not self._chain.daemon():
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
