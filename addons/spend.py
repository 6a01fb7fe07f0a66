"""Spending: what the policy's limits say of a turn, and what it used in the end."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time

from mitmproxy import http

from addons.exchange import Chain, Exchange, exchange_of
from shim.client import Facts
from shim.policy.schema import Policy
from shim.route.limits import Limits, Verdict, Who
from shim.turn import Failure

logger = logging.getLogger(__name__)

_STORE_ERRORS = (sqlite3.Error, OSError)


class Spend:
    """Stands before the router, which asks ``exchange.verdicts``; counts when all is over."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._made: tuple[Policy, Limits] | None = None

    async def request(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if flow.response or exchange is None:
            return
        if not exchange.counts and (limits := self._limits()):
            try:
                asker, now = who(exchange.facts), time.time()
                found = await asyncio.to_thread(limits.before, asker, now)
            except _STORE_ERRORS as e:
                exchange.decide("limits", f"not looked at: {_trouble(e)}")
            else:
                self._judge(flow, exchange, found)
        exchange.passed.add("spend")

    def _judge(self, flow: http.HTTPFlow, exchange: Exchange, found: list[Verdict]) -> None:
        exchange.verdicts = found
        for verdict in found:
            exchange.decide("limits", f"{verdict.state}: {verdict.sentence}")
            if verdict.state == "warn":
                logger.warning("%s", verdict.sentence)
        refused = next((v for v in found if v.state == "refuse"), None)
        if refused is None:
            return
        if refused.delay is not None:
            failure = Failure(
                refused.sentence,
                429,
                "rate_limit_exceeded",
                "rate_limit_error",
                delay=refused.delay,
                retry=True,
            )
        else:
            said = refused.sentence
            failure = Failure(said, 403, "limit_reached", "permission_error")
        exchange.fail(flow, failure)

    async def count(self, exchange: Exchange) -> None:
        """Add what the turn has used to the counters."""
        limits, translator = self._limits(), exchange.translator
        if limits is None:
            return
        used = list(exchange.also_used)
        if translator and translator.usage and exchange.route:
            used.append((exchange.route.name, translator.usage))
        models = self._chain.policies.current().models
        for name, usage in used:
            price = models[name].price if name in models else None
            try:
                asker = who(exchange.facts)
                await asyncio.to_thread(limits.after, asker, usage, price, time.time())
            except _STORE_ERRORS as e:
                exchange.decide("limits", f"not counted: {_trouble(e)}")

    def _limits(self) -> Limits | None:
        policy = self._chain.policies.current()
        if not policy.limits:
            return None
        if self._made is None or self._made[0] is not policy:
            self._made = policy, Limits(policy.limits, self._chain.store)
        return self._made[1]


class Count:
    """Behind translation: by now the answer's tokens are known."""

    def __init__(self, spend: Spend) -> None:
        self._spend = spend

    async def response(self, flow: http.HTTPFlow) -> None:
        if exchange := exchange_of(flow):
            await self._spend.count(exchange)

    async def error(self, flow: http.HTTPFlow) -> None:
        # A client may leave as soon as it has its answer.
        await self.response(flow)


def _trouble(e: Exception) -> str:
    # A full disk must not stop the work of everybody.
    logger.warning("the limits' counters cannot be used: %s", e)
    return str(e)


def who(facts: Facts | None) -> Who:
    """On whose account a turn goes."""
    return Who(facts.session, facts.key) if facts else Who()
