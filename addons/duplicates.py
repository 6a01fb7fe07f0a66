"""Duplicates: a request that comes again while the first is still under way is counted."""

from __future__ import annotations

from mitmproxy import http

from addons.exchange import Chain, Exchange, exchange_of
from shim.turn import Failure, Turn


class Duplicates:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        #: By who asks: the turns under way.
        self._under_way: dict[str, dict[str, Exchange]] = {}

    def request(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if flow.response or exchange is None or exchange.counts:
            return
        others = self._under_way.setdefault(exchange.who, {})
        first = next((id for id, e in others.items() if same(e.asked, exchange.asked)), None)
        others[flow.id] = exchange
        if first is None:
            return
        self._chain.duplicates += 1
        exchange.decide("duplicate", f"the same request is still under way as {first}")
        if self._chain.policies.current().duplicates == "refuse":
            said = "the same request is still under way (the policy refuses duplicates)"
            exchange.fail(flow, Failure(said, 409, "duplicate_request", "invalid_request_error"))

    def response(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange and (others := self._under_way.get(exchange.who)):
            others.pop(flow.id, None)
            if not others:
                del self._under_way[exchange.who]

    def error(self, flow: http.HTTPFlow) -> None:
        self.response(flow)


def same(a: Turn, b: Turn) -> bool:
    """Whether both ask for the same; Codex writes new metadata into a retry."""
    if abs(len(a.body) - len(b.body)) > 64 or a.own.keys() != b.own.keys():
        return False
    return all(a.own[name] == b.own[name] for name in a.own if name != "client_metadata")
