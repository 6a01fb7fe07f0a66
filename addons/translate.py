"""Translation: the turn in the upstream's protocol, its answer in the client's, as it streams."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from mitmproxy import http

from addons.exchange import Chain, Exchange, exchange_of, fields, plain
from addons.gather import gather
from shim.client import facts_of
from shim.codex.login import brings_login
from shim.prompt import capabilities
from shim.prompt.cache import Caches
from shim.repair.turn import rules_for
from shim.turn import Failure, WireError
from shim.wire.protocols import Caching
from shim.wire.translate import STREAM, Translation, count_answer
from shim.wire.unmask import Unmask

logger = logging.getLogger(__name__)

#: Above this many bytes a request is translated beside the event loop, so that streams flow on.
_BIG = 2 * 1024 * 1024


_JSON = {"content-type": "application/json"}


class Translate:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._caches = Caches()

    async def request(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if flow.response or exchange is None or exchange.route is None:
            return
        begun = time.perf_counter()
        wanted = exchange.capabilities
        if wanted and not wanted.codex_passthrough:
            facts = facts_of(exchange.headers, exchange.asked)
            date = time.strftime("%Y-%m-%d", time.localtime(facts.started or exchange.started))
            exchange.turn, notes = capabilities.apply(exchange.turn, wanted, facts, date)
            for note in notes:
                exchange.edited = True
                exchange.decide("capabilities", note)
        bypass = bool(wanted and wanted.bypass_tool_call_reactor)
        translation = Translation(
            exchange.turn,
            exchange.route,
            codex=exchange.codex,
            all_calls=bypass,
            unmask=Unmask(exchange.masks, exchange.names),
            told=exchange.asked if exchange.edited else None,
            repair=rules_for(
                self._chain.policies.current().repair,
                exchange.route,
                wanted.tool_text_format if wanted else "none",
            ),
            caching=self._caching(exchange),
            renews=brings_login(exchange.headers),
        )
        exchange.translation = translation
        if exchange.counts and translation.translates:
            flow.response = http.Response.make(200, count_answer(exchange.turn), _JSON)
            return
        try:
            if len(exchange.turn.body) > _BIG:
                body = await asyncio.to_thread(translation.request)
            else:
                body = translation.request()
        except WireError as e:
            exchange.fail(flow, Failure(str(e), e.status, type="invalid_request_error"))
            return
        for note in translation.notes:
            exchange.decide("translate", note)
        headers = flow.request.headers
        same = body is exchange.asked.body and not exchange.wants
        if not same or "content-encoding" not in headers:
            headers.pop("content-encoding", None)
            flow.request.raw_content = body
        headers["content-length"] = str(len(flow.request.raw_content or b""))
        exchange.upstream_request = flow.request
        exchange.passed.add("translate")
        exchange.added += time.perf_counter() - begun

    def _caching(self, exchange: Exchange) -> Caching | None:
        facts, policies, route = exchange.facts, self._chain.policies, exchange.route
        if facts is None or exchange.counts:
            return None
        own = route and (route.login or (exchange.proxied and route.provider == "reverse"))
        if own and exchange.turn.protocol == "responses":
            # Codex names its cache itself.
            return None
        rules = policies.for_thread(facts.thread, facts.started).policy.cache
        if rules is None:
            return None
        return self._caches.caching(rules, facts, exchange.turn, exchange.started)

    def _repaired(self, exchange: Exchange) -> None:
        for note in exchange.translator.repaired if exchange.translator else ():
            exchange.decide("repair", note)
            self._chain.repairs += 1

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange is None or exchange.upstream_request is None or flow.response is None:
            return
        assert exchange.translation
        if exchange.counts:
            exchange.upstream_response = _head(flow.response)
            return
        response, translation = flow.response, exchange.translation
        exchange.upstream_response = _head(response)
        exchange.translator = translation.translator()
        if not translation.streams(response.status_code, plain(response.headers)):
            return
        if translation.translates:
            response.headers = _stream_headers(flow, translation.warning)
        elif exchange.turn.model != translation.route.model:
            # Codex takes another name there for a re-routing and warns of a flagged account.
            response.headers = response.headers.copy()
            response.headers.pop("openai-model", None)
        response.stream = _tap(flow, exchange)

    def response(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange is None or flow.response is None or exchange.translator is None:
            return
        if flow.response.stream:
            exchange.failure = exchange.failure or exchange.translator.failure
            self._repaired(exchange)
            return
        assert exchange.translation
        response = flow.response
        exchange.received = [response.raw_content or b""]
        answer = exchange.translation.answer(
            exchange.translator,
            response.status_code,
            plain(response.headers),
            response.get_content(strict=False) or b"",
            exchange.upstream_request.url if exchange.upstream_request else "",
        )
        self._repaired(exchange)
        if answer is None:
            return
        exchange.failure = answer.failure
        if answer.failure and answer.body is not None and exchange.translator.failure is None:
            exchange.fail(flow, answer.failure)
        elif answer.body is not None:
            flow.response = http.Response.make(answer.status, answer.body, answer.headers)


def _head(response: http.Response) -> http.Response:
    """The upstream's own head; its headers object is not changed after this."""
    data = response.data
    return http.Response(
        data.http_version,
        data.status_code,
        data.reason,
        data.headers,
        None,
        None,
        data.timestamp_start,
        None,
    )


def _tap(flow: http.HTTPFlow, exchange: Exchange) -> Callable[[bytes], list[bytes]]:
    """The stream function of a flow: the upstream's bytes in, the client's out; b"" is the end."""
    translator = exchange.translator
    assert translator
    received, sent = exchange.received.append, exchange.sent.append
    clock = time.perf_counter

    def tap(data: bytes) -> list[bytes]:
        begun = clock()
        try:
            out = translator.feed(data) if data else translator.close()
        except Exception as e:
            # A bug of ours must not hang the client: it gets a readable end.
            logger.exception("an answer could not be translated")
            out = translator.abort(Failure(f"interpose: the answer could not be translated: {e}"))
        if data:
            received(data)
            if exchange.first_byte is None:
                exchange.first_byte = time.time()
                gather(flow)
        exchange.added += clock() - begun
        # An empty chunk would end a chunked answer.
        if not out:
            return []
        sent(out)
        return [out]

    return tap


def _stream_headers(flow: http.HTTPFlow, warning: str | None) -> http.Headers:
    assert flow.response
    headers = {"content-type": STREAM, "cache-control": "no-cache"}
    if flow.request.http_version == "HTTP/1.1":
        headers["transfer-encoding"] = "chunked"
    if request_id := flow.response.headers.get("x-request-id"):
        headers["x-request-id"] = request_id
    if warning:
        headers["warning"] = warning
    return fields(headers)
