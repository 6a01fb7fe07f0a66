"""Recording: each exchange as two linked flows, client and upstream leg, without keys.

The recorder beside the proxy writes them: no stream waits for it. Only where somebody looks at
the live flows (mitmweb, ``-w FILE``) are these cleaned.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import msgspec
from mitmproxy import ctx, http
from mitmproxy.proxy.mode_specs import ReverseMode

from addons import recorder
from addons.exchange import STAGES, Chain, Exchange, end, exchange_of, refuse
from addons.writer import Writer
from shim.record import summary
from shim.record.folder import default_folder
from shim.record.redact import Redactor
from shim.turn import Failure
from shim.wire.protocols import protocol_of

logger = logging.getLogger(__name__)

_KEEP_ROWS = 1000


class Record:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._writer: Writer | None = None
        self._former: list[Writer] = []
        self._saved = False
        chain.settle = self._settle

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "record_dir",
            str,
            str(default_folder()),
            "Folder for recorded flows; empty: nothing is recorded.",
        )

    def configure(self, updated: set[str]) -> None:
        self._saved = bool("save_stream_file" in ctx.options and ctx.options.save_stream_file)
        if "record_dir" in updated:
            if self._writer:
                self._former.append(self._writer)
            folder = ctx.options.record_dir
            self._writer = Writer(self._chain, Path(folder).expanduser() if folder else None)

    async def done(self) -> None:
        for writer in (*self._former, self._writer):
            if writer:
                await writer.close()
        self._former, self._writer = [], None

    async def request(self, flow: http.HTTPFlow) -> None:
        if flow.response:
            return
        exchange = exchange_of(flow)
        if _is_turn(flow) and not (exchange and exchange.passed >= STAGES):
            # A stage broke: the turn must not reach the reverse target as the client sent it.
            said = "interpose: the turn could not be prepared; the chain's log says why"
            if exchange:
                exchange.upstream_request = None
                exchange.fail(flow, Failure(said, 500))
            else:
                refuse(flow, 500, said)
        elif self._writer:
            await self._writer.room()

    def response(self, flow: http.HTTPFlow) -> None:
        self._keep(flow)
        end(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        self.response(flow)

    async def _settle(self) -> None:
        if self._writer:
            await self._writer.settle()

    def _keep(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange is None or self._writer is None:
            return
        ended = time.time()
        secrets, session = frozenset(exchange.secrets), ""
        stands = self._chain.policies.in_force()
        if stands.policy.redact:
            facts = exchange.facts
            session = facts.session if facts else ""
        logged = recorder.redactor(secrets, stands.masked("logged"), session)
        row = _row(flow, exchange, logged, ended)
        kept = msgspec.to_builtins(row)
        self._chain.rows.append(kept)
        self._chain.live.add(kept)
        del self._chain.rows[:-_KEEP_ROWS]
        logger.log(logging.WARNING if row.error else logging.INFO, summary.line(row))
        job = _job(flow, exchange, kept, ended)
        job.rules, job.session = stands.masked("recorded"), session
        self._writer.put(job)
        view = ctx.master.addons.get("view")
        if view or self._saved:
            # The live flow becomes the client leg; in mitmweb the upstream leg stands beside it.
            legs = recorder.flows(job)
            flow.request, flow.comment = legs[0].request, legs[0].comment
            if exchange.sent and flow.response:
                flow.response.raw_content = b"".join(exchange.sent)
            if view and len(legs) > 1:
                view.add(legs[1:])


def _is_turn(flow: http.HTTPFlow) -> bool:
    ours = isinstance(flow.client_conn.proxy_mode, ReverseMode) and not flow.is_replay
    return ours and flow.request.method == "POST" and bool(protocol_of(flow.request.path))


def _row(flow: http.HTTPFlow, exchange: Exchange, redact: Redactor, ended: float) -> summary.Row:
    broke = flow.error.msg if flow.error else None
    error = exchange.failure.message if exchange.failure else broke
    translator, first = exchange.translator, exchange.first_byte
    return summary.Row(
        exchange=flow.id,
        thread=exchange.headers.get("thread-id"),
        model=exchange.turn.model,
        route=summary.route_fields(exchange.route),
        codex=exchange.codex,
        stream=exchange.turn.stream,
        status=_status(flow, exchange),
        calls=translator.calls if translator else 0,
        usage=summary.usage_fields(translator.usage if translator else None),
        ms={
            "total": round((ended - exchange.started) * 1000, 1),
            "first_byte": round((first - exchange.started) * 1000, 1) if first else None,
            "added": round(exchange.added * 1000, 2),
        },
        decisions=[redact.text(d) for d in exchange.decisions],
        seed=vars(exchange.turn).get("seed"),
        edited=exchange.edited,
        session=exchange.facts.session if exchange.facts else None,
        account=msgspec.to_builtins(exchange.account) if exchange.account else None,
        error=redact.text(error) if error else None,
    )


def _status(flow: http.HTTPFlow, exchange: Exchange) -> int:
    """The upstream's own status where it said one, else what the client got."""
    if exchange.failure and exchange.failure.status:
        return exchange.failure.status
    return flow.response.status_code if flow.response else 502


def _job(
    flow: http.HTTPFlow, exchange: Exchange, row: dict[str, Any], ended: float
) -> recorder.Job:
    """The exchange as the recorder wants it."""
    pairs = [(exchange.client_request, flow.response, exchange.sent)]
    if exchange.upstream_request:
        upstream = exchange.upstream_response
        pairs.append((exchange.upstream_request, upstream, exchange.received))
    legs: list[recorder.Leg] = []
    bodies = []
    for request, response, pieces in pairs:
        bodies.append(request.raw_content or b"")
        body = b"".join(pieces)
        answered = None
        if response:
            answered = _fields(response)
            answered["timestamp_start"] = response.timestamp_start or ended
            answered["timestamp_end"] = response.timestamp_end or ended
            body = body or response.raw_content or b""
        bodies.append(body)
        legs.append((_fields(request), answered))
    connections = (flow.client_conn.get_state(), flow.server_conn.get_state())
    error = flow.error.get_state() if flow.error else None
    return recorder.Job(row, frozenset(exchange.secrets), connections, legs, error, bodies)


def _fields(message: http.Message) -> dict[str, Any]:
    """What a message is made of, without its body."""
    data = message.data
    trailers = data.trailers.fields if data.trailers else None
    return {**vars(data), "headers": data.headers.fields, "content": b"", "trailers": trailers}
