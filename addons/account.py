"""Accounting: what each turn came to, and headers that tell of it where a client asks for them."""

from __future__ import annotations

import asyncio

import msgspec
from cachetools import LRUCache

from addons.services import Services
from addons.stage import Stage
from shim.account.bill import Account as Bill
from shim.account.bill import Sent, account
from shim.account.tokens import BYTES, tokenizer
from shim.exchange.upstream_request import fields_of
from shim.exchange.values import Decision, Head, Intake, Outcome, Passage
from shim.turn import Usage

#: A client that sends this header, with whatever value, gets those below.
ASKS = "x-interpose-account"
_MOST_SESSIONS = 1024


class Account(Stage):
    """Behind translation: by now the answer's tokens are known."""

    observes = True

    def __init__(self, services: Services) -> None:
        self._services = services
        self._billed: LRUCache[str, float] = LRUCache(_MOST_SESSIONS)

    def responseheaders(
        self, intake: Intake, decision: Decision, head: Head, passage: Passage | None
    ) -> Passage | None:
        if passage is None or not passage.streams or ASKS not in intake.headers:
            return None
        # Before a stream's end only what was sent is known.
        saved = f"{decision.edits.saved / BYTES:.0f}"
        more = fields_of(self._headers(intake, decision, saved))
        return msgspec.structs.replace(passage, fields=(*passage.fields, *more))

    async def response(
        self, intake: Intake, decision: Decision, outcome: Outcome
    ) -> Outcome | None:
        upstream, passage = outcome.upstream, outcome.passage
        if upstream is None or passage is None or passage.transcoder is None:
            return None
        bill = None
        # What is refused is not billed.
        if upstream.status < 400:
            bill = await self._bill(decision, outcome)
            session = _session(intake, decision)
            self._billed[session] = self._billed.get(session, 0.0) + bill.billed
            outcome = outcome.with_(account=bill)
        if ASKS in intake.headers and not passage.streams:
            saved = str(bill.saved) if bill else f"{decision.edits.saved / BYTES:.0f}"
            headers = self._headers(intake, decision, saved)
            if bill:
                headers["x-interpose-billed"] = f"{bill.billed:.0f}"
            outcome = outcome.with_(headers={**outcome.headers, **headers})
        return outcome

    async def error(self, intake: Intake, decision: Decision, outcome: Outcome) -> Outcome | None:
        # A client may leave as soon as it has its answer.
        return await self.response(intake, decision, outcome) if outcome.usage else None

    async def _bill(self, decision: Decision, outcome: Outcome) -> Bill:
        body, route, edits = decision.turn.body, decision.route, decision.edits
        usage, counted_by = outcome.usage or Usage(), "upstream"
        if not usage.input:
            usage, counted_by = await asyncio.to_thread(_counted, body, usage)
        models = self._services.policies.current().models
        price = models[route.name].price if route and route.name in models else None
        sent = Sent(len(body), edits.saved, edits.saved_first)
        return account(usage, counted_by, route, price, sent)

    def _headers(self, intake: Intake, decision: Decision, saved: str) -> dict[str, str]:
        billed = self._billed.get(_session(intake, decision), 0.0)
        return {
            "x-interpose-route": decision.route.label if decision.route else "",
            "x-interpose-saved": saved,
            "x-interpose-session-billed": f"{billed:.0f}",
        }


def _session(intake: Intake, decision: Decision) -> str:
    if decision.facts:
        return decision.facts.session
    return intake.headers.get("session-id") or intake.headers.get("thread-id") or ""


def _counted(body: bytes, usage: Usage) -> tuple[Usage, str]:
    """An estimate, where the upstream does not say."""
    name, count = tokenizer()
    return Usage(count(body.decode("utf-8", "replace")), output=usage.output), name
