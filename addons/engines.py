"""Models that are no HTTP API, served beside the proxy: started when the first turn is for one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mitmproxy import http

from shim import client
from shim.codex.where import state_folder
from shim.engines import known
from shim.engines.sessions import ASKER, HEADER, digest, named
from shim.policy.agents import Agent
from shim.policy.schema import Provider

if TYPE_CHECKING:
    from addons.exchange import Chain, Exchange
    from shim.engines.agents.serve import Agents
    from shim.engines.server import EngineServer


class Engines:
    """The engine server of a chain, and what its agents offer."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._server: EngineServer | None = None
        self._agents: Agents | None = None
        self._starting = asyncio.Lock()

    async def server(self) -> EngineServer:
        """The server, listening."""
        async with self._starting:
            if self._server is None:
                from shim.engines.agents.serve import Agents
                from shim.engines.server import EngineServer

                places = state_folder() / "agents"
                agents = Agents(self._named, self._chain.store, places, self._hide)
                server = EngineServer(agents=agents)
                await server.start()
                self._server, self._agents = server, agents
            return self._server

    async def provider(self, name: str) -> Provider:
        """Where ``demo``, or an agent of the policy, is reached."""
        server = await self.server()
        return Provider(server.url(name), key=server.secret)

    def tell(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Name the conversation of a turn to the agent that it goes to."""
        owner = self._chain.owners.get(flow, "")
        if conversation := named(exchange.asked.own, exchange.headers, owner):
            flow.request.headers[HEADER] = conversation
        asker = {name for name in client.conversation(exchange.headers)[:2] if name}
        flow.request.headers[ASKER] = ",".join(digest(name) for name in asker)
        if tools := len(exchange.turn.tools):
            exchange.decide("route", f"{tools} tools of the client left out: an agent has its own")

    async def offers(self) -> dict[str, list[str] | None]:
        """The models of each agent; None for one that cannot be used now."""
        names = list(self._chain.policies.current().agents)
        if not names:
            return {}
        await self.server()
        assert self._agents
        told = await asyncio.gather(*(self._agents.offers(name) for name in names))
        return {
            name: None if why else found for name, (found, why) in zip(names, told, strict=True)
        }

    async def stop(self) -> None:
        """End what is running. Safe to call twice."""
        server, agents = self._server, self._agents
        self._server = self._agents = None
        if agents:
            await agents.stop()
        if server:
            await server.stop()

    def _hide(self, text: str) -> str:
        """``text`` without the keys of the policy, and what looks like one."""
        return known.hidden(text, self._chain.policies.current())

    def _named(self) -> Mapping[str, Agent]:
        policy = self._chain.policies.current()
        return {name: known.whole(agent, policy) for name, agent in policy.agents.items()}
