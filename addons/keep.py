"""Behind translation: an answer is kept under the id that the client sees; a summary is shaped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from mitmproxy import http

from addons import legs
from addons.exchange import Chain, Exchange, exchange_of
from addons.state import Plan, State
from addons.upstream_state import clean
from shim.state import compact, expand
from shim.state.conversations import Kept
from shim.turn import Failure
from shim.wire.translate import STREAM

_JSON = {"content-type": "application/json"}


class Keep:
    def __init__(self, chain: Chain, state: State) -> None:
        self._chain = chain
        self._state = state

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        plan, exchange = self._state.plans.get(flow), exchange_of(flow)
        stream = flow.response.stream if flow.response else None
        if plan and exchange and callable(stream):
            assert flow.response
            flow.response.stream = self._watch(flow, exchange, plan, stream)

    async def response(self, flow: http.HTTPFlow) -> None:
        self._finish(flow)
        self._state.kept.write_soon()
        if exchange_of(flow) is None and expand.stored(flow.request.path):
            clean(flow)

    async def error(self, flow: http.HTTPFlow) -> None:
        if exchange_of(flow) is None and expand.stored(flow.request.path):
            clean(flow)
        self._state.plans.pop(flow, None)
        self._state.kept.write_soon()

    def _finish(self, flow: http.HTTPFlow) -> None:
        plan, exchange = self._state.plans.pop(flow, None), exchange_of(flow)
        translator = exchange.translator if exchange else None
        answer = translator.response if translator else None
        if not (plan and exchange and answer) or plan.done or exchange.failure:
            return
        if plan.compacts:
            self._compact(flow, exchange, plan, answer)
        else:
            self._keep(flow, exchange, plan, answer, answer.get("output"))

    def _watch(
        self,
        flow: http.HTTPFlow,
        exchange: Exchange,
        plan: Plan,
        tap: Callable[[bytes], bytes | Iterable[bytes]],
    ) -> Callable[[bytes], bytes | Iterable[bytes]]:
        """``tap``, with the answer kept before its end leaves: the client may go on at once."""
        translator = exchange.translator
        assert translator

        def watch(data: bytes) -> bytes | Iterable[bytes]:
            out = tap(data)
            if not plan.done and (answer := translator.response) is not None:
                self._keep(flow, exchange, plan, answer, answer.get("output"))
            return out

        return watch

    def _keep(
        self,
        flow: http.HTTPFlow,
        exchange: Exchange,
        plan: Plan,
        answer: dict[str, Any],
        output: object,
    ) -> None:
        plan.done = True
        if not plan.stores or answer.get("status") not in ("completed", "incomplete"):
            return
        told = plan.completed
        id, input, parent = str(answer["id"]), told.own, told.parent
        if id in told.ids:
            # An upstream that gives the same id twice: this entry must stand by itself.
            input, parent = expand.inner(told.turn.fields["input"]), None
        response = msgspec.json.encode({**answer, "output": output})
        kept = Kept(
            response,
            input,
            msgspec.json.encode(output)[1:-1],
            parent=parent,
            compacted=plan.compacts,
        )
        # An upstream may repeat the keys it got.
        clean = legs.redactor(frozenset(exchange.secrets)).data
        self._state.kept.keep(self._chain.owners.get(flow, ""), id, kept, clean)

    def _compact(
        self, flow: http.HTTPFlow, exchange: Exchange, plan: Plan, answer: dict[str, Any]
    ) -> None:
        item = compact.compaction_item(answer)
        if item is None:
            failure = Failure("the model gave no summary", 502, "empty_summary", retry=True)
            exchange.fail(flow, failure)
            return
        headers = _JSON
        if expand.is_compact(exchange.client_request.path):
            body = compact.compacted(plan.completed.turn, answer, item)
        else:
            stream = plan.completed.turn.stream
            body = compact.triggered(answer, item, stream=stream)
            headers = {"content-type": STREAM} if stream else _JSON
            self._keep(flow, exchange, plan, answer, [item])
        if warning := exchange.translation and exchange.translation.warning:
            headers = {**headers, "warning": warning}
        flow.response = http.Response.make(200, body, headers)
