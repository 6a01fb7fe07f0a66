"""Quotas: what the policy's limits say of a turn, and what it used in the end."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time

from addons.services import Services
from addons.stage import Stage
from shim.client import Facts, conversation, is_loopback
from shim.exchange.replies import failed
from shim.exchange.values import Decision, Intake, Outcome, Reply
from shim.policy.schema import Policy
from shim.route.limits import Limits, Verdict, Who
from shim.turn import Failure

logger = logging.getLogger(__name__)

_STORE_ERRORS = (sqlite3.Error, OSError)


class Quotas(Stage):
    """Stands before the router, which reads the verdicts; counts when all is over."""

    writes = frozenset({"verdicts"})
    waits = True

    def __init__(self, services: Services) -> None:
        self._services = services
        self._ready: tuple[Policy, Limits] | None = None

    @property
    def name(self) -> str:
        return "limits"

    async def request(
        self, intake: Intake, decision: Decision
    ) -> Decision | tuple[Decision, Reply] | None:
        limits = self._limits()
        if intake.counts or limits is None:
            return None
        try:
            asks = who(intake, decision.facts)
            verdicts = await asyncio.to_thread(limits.before, asks, time.time())
        except _STORE_ERRORS as e:
            return decision.note(self.name, "unread", f"not looked at: {_trouble(e)}")
        return self._judged(intake, decision, verdicts)

    def _judged(
        self, intake: Intake, decision: Decision, verdicts: list[Verdict]
    ) -> Decision | tuple[Decision, Reply]:
        decision = decision.with_(verdicts=tuple(verdicts))
        for verdict in verdicts:
            text = f"{verdict.state}: {verdict.sentence}"
            decision = decision.note(self.name, verdict.state, text)
            if verdict.state == "warn":
                logger.warning("%s", verdict.sentence)
        refused = next((v for v in verdicts if v.state == "refuse"), None)
        if refused is None:
            return decision
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
            failure = Failure(refused.sentence, 403, "limit_reached", "permission_error")
        return decision, failed(intake, failure)

    async def settle(self, intake: Intake, decision: Decision, outcome: Outcome) -> Outcome | None:
        """Add what the turn has used to the counters."""
        limits = self._limits()
        if limits is None:
            return None
        used = list(decision.side_usage)
        if outcome.usage and decision.route:
            used.append((decision.route.name, outcome.usage))
        models = self._services.policies.current().models
        for name, usage in used:
            price = models[name].price if name in models else None
            try:
                account = who(intake, decision.facts)
                await asyncio.to_thread(limits.after, account, usage, price, time.time())
            except _STORE_ERRORS as e:
                outcome = outcome.note(self.name, "uncounted", f"not counted: {_trouble(e)}")
        return outcome

    def _limits(self) -> Limits | None:
        policy = self._services.policies.current()
        if not policy.limits:
            return None
        if self._ready is None or self._ready[0] is not policy:
            self._ready = policy, Limits(policy.limits, self._services.store)
        return self._ready[1]


def _trouble(e: Exception) -> str:
    # A full disk must not stop the work of everybody.
    logger.warning("the limits' counters cannot be used: %s", e)
    return str(e)


def who(intake: Intake, facts: Facts | None) -> Who:
    """On whose account a turn goes: by its key, then by its session, then by the address; this
    machine needs none."""
    if facts is None:
        return Who()
    peer = intake.request.peer
    address = "" if is_loopback(peer) else peer
    named = conversation(intake.headers)[0]
    parts = (facts.key, facts.session, "" if named else address)
    return Who(" ".join(filter(None, parts)), facts.key or address)
