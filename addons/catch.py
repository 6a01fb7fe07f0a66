"""Catching: what the policy changes in a prompt, keeps from it or refuses, before it is routed."""

from __future__ import annotations

import asyncio
import time

from mitmproxy import http

from addons.exchange import Chain, Exchange, exchange_of
from shim.client import facts_of
from shim.policy.inforce import InForce
from shim.prompt.edit import Editors
from shim.prompt.mask import Sessions
from shim.prompt.tools import Tools
from shim.turn import Failure

#: Above this many bytes a prompt is edited beside the event loop, so that streams flow on; dedup
#: looks at every line of a conversation that is new here.
_BIG, _BIG_FOR_DEDUP = 1024 * 1024, 512 * 1024


class Catch:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._editors = Editors()
        self._sessions = Sessions()

    async def request(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if flow.response or exchange is None:
            return
        if self._chain.policies.decides:
            begun = time.perf_counter()
            await self._catch(flow, exchange)
            exchange.added += time.perf_counter() - begun
        exchange.passed.add("catch")

    async def _catch(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        policies = self._chain.policies
        owner = self._chain.owners.get(flow, "")
        facts = facts_of(exchange.headers, exchange.turn, owner, project=policies.asks_project)
        exchange.facts = facts
        stands = policies.for_thread(facts.thread, facts.started)
        if stands.edits:
            await self._edit(flow, exchange, stands)

    async def _edit(self, flow: http.HTTPFlow, exchange: Exchange, stands: InForce) -> None:
        assert exchange.facts
        masks, before = None, exchange.turn
        if stands.finder:
            masks = self._sessions.masks(exchange.facts.session, stands.finder)
        work = (exchange.turn, stands.catch, exchange.facts, masks, stands.policy.dedup)
        if len(exchange.turn.body) > (_BIG_FOR_DEDUP if stands.policy.dedup else _BIG):
            outcome = await asyncio.to_thread(self._editors.edit, *work)
        else:
            outcome = self._editors.edit(*work)
        if masks and masks.table:
            exchange.masks = masks.table
            exchange.decide("redact", f"{len(masks.table)} secrets masked in this session")
        exchange.turn, exchange.tags = outcome.turn, frozenset(outcome.tags)
        for note in outcome.notes:
            exchange.decide("catch", note)
        if outcome.dedup:
            exchange.decide("dedup", outcome.dedup)
        exchange.saved, exchange.saved_anew = outcome.saved, outcome.saved_anew
        if outcome.refused:
            rule, message = outcome.refused
            said = f"{message} (refused by the policy's rule {rule}; nothing was sent)"
            exchange.fail(flow, Failure(said, 400, "policy_refused", "invalid_request_error"))
            return
        if stands.policy.tools:
            tools = Tools(exchange.turn, stands.policy.tools)
            exchange.turn, exchange.names = tools.turn, tools.names
            for note in tools.notes:
                exchange.decide("catch", note)
        exchange.edited = exchange.turn is not before
