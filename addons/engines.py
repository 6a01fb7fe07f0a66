"""Models that are no HTTP API, served beside the proxy: started when the first turn is for one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from shim import client
from shim.codex.where import state_folder
from shim.engines import known
from shim.engines.sessions import ASKER, HEADER, digest, named
from shim.exchange.values import Intake
from shim.policy.agents import Agent
from shim.policy.schema import Provider
from shim.policy.store import PolicyStore
from shim.state.store import Store

if TYPE_CHECKING:
    from shim.engines.agents.serve import Agents
    from shim.engines.server import EngineServer


class Engines:
    """The engine server of a chain, and what its agents offer."""

    def __init__(self, policies: PolicyStore, store: Store) -> None:
        self._policies = policies
        self._store = store
        self._server: EngineServer | None = None
        self._agents: Agents | None = None
        self._starting = asyncio.Lock()

    @property
    def keys(self) -> tuple[str, ...]:
        """What the server is reached by."""
        return (self._server.secret,) if self._server else ()

    async def server(self) -> EngineServer:
        """The server, listening."""
        async with self._starting:
            if self._server is None:
                from shim.engines.agents.serve import Agents
                from shim.engines.server import EngineServer

                places = state_folder() / "agents"
                agents = Agents(self._configured, self._store, places, self._hide)
                server = EngineServer(agents=agents)
                await server.start()
                self._server, self._agents = server, agents
            return self._server

    async def provider(self, name: str) -> Provider:
        """Where ``demo``, or an agent of the policy, is reached."""
        server = await self.server()
        return Provider(server.url(name), key=server.secret)

    async def offers(self) -> dict[str, list[str] | None]:
        """The models of each agent; None for one that cannot be used now."""
        names = list(self._policies.current().agents)
        if not names:
            return {}
        await self.server()
        assert self._agents
        answers = await asyncio.gather(*(self._agents.offers(name) for name in names))
        return {
            name: None if why else models
            for name, (models, why) in zip(names, answers, strict=True)
        }

    def keep_sockets(self, owners: Collection[str]) -> None:
        """End the WebSockets that came with a key of nobody among ``owners``."""
        if self._server:
            self._server.sockets.keep(owners)

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
        return known.hidden(text, self._policies.current())

    def _configured(self) -> Mapping[str, Agent]:
        policy = self._policies.current()
        return {name: known.whole(agent, policy) for name, agent in policy.agents.items()}


def conversation_headers(intake: Intake) -> dict[str, str]:
    """Headers that name the conversation of a turn to the agent that it goes to."""
    headers = {}
    if conversation := named(intake.turn.own, intake.headers, intake.request.owner):
        headers[HEADER] = conversation
    names = {name for name in client.conversation(intake.headers)[:2] if name}
    headers[ASKER] = ",".join(digest(name) for name in names)
    return headers
