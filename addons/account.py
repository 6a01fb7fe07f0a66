"""Accounting: what each turn came to, and headers that tell of it where a client asks for them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from mitmproxy import http

from addons.exchange import Chain, Exchange, exchange_of
from shim.account.bill import Account as Bill
from shim.account.bill import Sent, account
from shim.account.tokens import BYTES, tokenizer
from shim.turn import Usage

#: A client that sends this header, with whatever value, gets those below.
ASKS = "x-interpose-account"
_MOST_SESSIONS = 1024


class Account:
    """Behind translation: by now the answer's tokens are known."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._billed: OrderedDict[str, float] = OrderedDict()

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange and flow.response and flow.response.stream and ASKS in exchange.headers:
            self._tell(flow.response, exchange)

    async def response(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange is None or exchange.translator is None or exchange.counts:
            return
        upstream = exchange.upstream_response
        # What is refused is not billed.
        if upstream is None or upstream.status_code < 400:
            exchange.account = made = await self._account(exchange)
            session = _session(exchange)
            self._billed[session] = self._billed.get(session, 0.0) + made.billed
            self._billed.move_to_end(session)
            if len(self._billed) > _MOST_SESSIONS:
                self._billed.popitem(last=False)
        if flow.response and not flow.response.stream and ASKS in exchange.headers:
            self._tell(flow.response, exchange)

    async def error(self, flow: http.HTTPFlow) -> None:
        # A client may leave as soon as it has its answer.
        exchange = exchange_of(flow)
        if exchange and exchange.translator and exchange.translator.usage:
            await self.response(flow)

    async def _account(self, exchange: Exchange) -> Bill:
        assert exchange.translator
        sent, route = len(exchange.turn.body), exchange.route
        usage, counted_by = exchange.translator.usage or Usage(), "upstream"
        if not usage.input:
            usage, counted_by = await asyncio.to_thread(_counted, exchange.turn.body, usage)
        models = self._chain.policies.current().models
        price = models[route.name].price if route and route.name in models else None
        made = Sent(sent, exchange.saved, exchange.saved_anew)
        return account(usage, counted_by, route, price, made)

    def _tell(self, response: http.Response, exchange: Exchange) -> None:
        """Before a stream's end only what was sent is known."""
        told = {"route": exchange.route.label if exchange.route else ""}
        if exchange.account:
            told["billed"] = f"{exchange.account.billed:.0f}"
            told["saved"] = str(exchange.account.saved)
        else:
            told["saved"] = f"{exchange.saved / BYTES:.0f}"
        told["session-billed"] = f"{self._billed.get(_session(exchange), 0.0):.0f}"
        for name, value in told.items():
            response.headers[f"x-interpose-{name}"] = value


def _session(exchange: Exchange) -> str:
    if exchange.facts:
        return exchange.facts.session
    return exchange.headers.get("session-id") or exchange.headers.get("thread-id") or ""


def _counted(body: bytes, usage: Usage) -> tuple[Usage, str]:
    """An estimate, where the upstream does not say."""
    name, count = tokenizer()
    return Usage(count(body.decode("utf-8", "replace")), output=usage.output), name
