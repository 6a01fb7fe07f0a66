"""What a turn's state means for its upstream: compaction, what is stored, ids nobody knows.

An upstream that speaks Responses has state of its own: its turns pass, except that a conversation
which was stored here goes along in full.
"""

from __future__ import annotations

import time

from mitmproxy import http

from addons.exchange import Exchange, exchange_of
from addons.state import Completed, Plan, State, fail
from shim.state import compact, expand
from shim.turn import Failure, WireError


class Compact:
    def __init__(self, state: State) -> None:
        self._state = state

    def request(self, flow: http.HTTPFlow) -> None:
        exchange, completed = exchange_of(flow), self._state.completed.pop(flow, None)
        if flow.response or exchange is None or exchange.route is None:
            return
        if completed is None:
            exchange.passed.add("compact")
            return
        begun = time.perf_counter()
        try:
            self._fit(flow, exchange, completed)
        except WireError as e:
            fail(flow, exchange, Failure(str(e), e.status), e.param)
        exchange.added += time.perf_counter() - begun
        exchange.passed.add("compact")

    def _fit(self, flow: http.HTTPFlow, exchange: Exchange, completed: Completed) -> None:
        """Make the turn one that its upstream can answer, and note what to do afterwards."""
        assert exchange.route
        turn = exchange.turn
        native = exchange.route.protocol == "responses"
        endpoint = expand.is_compact(exchange.client_request.path)
        stores = expand.is_stored(turn) and not native and not endpoint
        compacts = not native and (endpoint or compact.is_triggered(turn))
        if not native:
            expand.refuse_conversation(turn)
            if completed.gone:
                _not_found(flow, exchange, completed.gone)
                return
        elif completed.parent:
            # Who knows nothing of that id must not see it.
            turn = expand.with_items(turn, [expand.inner(turn.fields["input"])])
        turn = expand.readable(turn)
        if compacts:
            turn = compact.summary_turn(turn)
            exchange.decide("state", "the model is asked for a summary: compaction")
        if endpoint:
            _compact_path(flow.request, native=native)
        exchange.turn = turn
        if compacts:
            flow.request.headers["accept"] = "application/json"
        if stores or compacts:
            self._state.plans[flow] = Plan(completed, stores, compacts)


def _not_found(flow: http.HTTPFlow, exchange: Exchange, gone: str) -> None:
    id = expand.previous(exchange.turn)
    why = f"Previous response with id {id!r} not found"
    if gone != id:
        why += f": {gone!r}, an earlier part of its conversation, is not stored any more"
    failure = Failure(f"{why}.", 400, "previous_response_not_found", "invalid_request_error")
    fail(flow, exchange, failure, "previous_response_id")


def _compact_path(request: http.Request, *, native: bool) -> None:
    """The router took the endpoint for a prefix, or for plain Responses."""
    bare, mark, query = request.path.partition("?")
    bare = bare.replace("/responses/compact/", "/", 1)
    request.path = bare + ("/compact" if native else "") + mark + query
