"""Failover: what an upstream's failure means for its health, and the way to the next candidate.

Behind translation: a failure before the client got anything sends it on by 307, or lets it come
again; one in mid-answer is remembered for its retry.
"""

from __future__ import annotations

from mitmproxy import http

from addons.exchange import Chain, Exchange, exchange_of
from shim.client import client_name
from shim.policy.schema import Health
from shim.record.redact import redactor
from shim.route.failures import key
from shim.route.tried import FOLLOW, again
from shim.turn import Failure

#: Another candidate may do better.
_ELSEWHERE = frozenset({0, 408, 429})


class Failover:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def response(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if not (exchange and exchange.route and exchange.upstream_response and flow.response):
            return
        failure = exchange.failure
        if failure is None or not _elsewhere(failure):
            self._chain.breakers.good(exchange.route.provider)
            return
        self._bad(exchange, failure)
        if not exchange.left:
            return
        if flow.response.stream:
            self._note(exchange, failure)
        elif client_name(exchange.headers) in FOLLOW:
            self._send_on(flow, exchange, failure)
        else:
            self._note(exchange, failure)
            said = f"{failure.message} (send it again: {_next(exchange)} is asked then)"
            exchange.fail(flow, Failure(said, 503, "overloaded", "overloaded_error", delay=1.0))
            exchange.decide("failover", f"the client may come again, for {_next(exchange)}")

    def error(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if not (exchange and exchange.route and exchange.endpoint):
            return
        told = exchange.translator.failure if exchange.translator else None
        why = flow.error.msg if flow.error else "no answer"
        if told is None and "client disconnected" not in why.lower():
            what = "the answer broke off" if flow.response else "no answer came"
            said = f"{exchange.route.provider}: {what}: {why}"
            told = Failure(said, 502, "upstream_unreachable")
        if told is None:
            return
        exchange.failure = exchange.failure or told
        if _elsewhere(told):
            self._bad(exchange, told)
            if exchange.left or not flow.response:
                self._note(exchange, told)

    def _send_on(self, flow: http.HTTPFlow, exchange: Exchange, failure: Failure) -> None:
        path = again(exchange.client_request.path, exchange.tried | {_label(exchange)})
        exchange.decide("failover", f"sent on to {_next(exchange)}: {failure.message}")
        flow.response = http.Response.make(307, b"", {"location": path})

    def _bad(self, exchange: Exchange, failure: Failure) -> None:
        assert exchange.route
        name = exchange.route.provider
        provider = self._chain.policies.current().providers.get(name)
        settings = provider.health if provider else Health()
        why = redactor(frozenset(exchange.secrets)).text(failure.message)
        self._chain.breakers.bad(name, why, settings, failure.delay)

    def _note(self, exchange: Exchange, failure: Failure) -> None:
        at = key(exchange.who, exchange.asked)
        self._chain.failures.note(at, failure, exchange.tried | {_label(exchange)})


def _elsewhere(failure: Failure) -> bool:
    if failure.context:
        return False
    return failure.status in _ELSEWHERE or failure.status >= 500


def _label(exchange: Exchange) -> str:
    assert exchange.route
    return exchange.route.label


def _next(exchange: Exchange) -> str:
    return exchange.left[0].label
