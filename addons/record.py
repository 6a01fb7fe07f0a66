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
from mitmproxy.utils import human

from addons import legs, recorder
from addons.exchange import STAGES, Chain, Exchange, end, exchange_of, is_ours, refuse
from addons.jobs import Begun, Job, Leg
from addons.stop import stop
from addons.writer import Writer
from shim import client
from shim.record import events, summary
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
        #: Where what has begun is written to the end.
        self._begun: dict[str, Writer] = {}
        self._saved = False
        chain.settle = self._settle

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "record_dir",
            str,
            str(default_folder()),
            "Folder for recorded flows and the journal; empty: nothing is recorded.",
        )
        loader.add_option(
            "record_rotate", str, "64m", "Flow files go on in another at this size; 0: never."
        )
        loader.add_option(
            "record_keep_days", int, 90, "Packed flow files are dropped after days; 0: never."
        )
        loader.add_option(
            "record_keep_size", str, "10g", "The oldest are dropped beyond that together; 0: never."
        )
        loader.add_option(
            "journal_keep_days", int, 365, "Segments of the journal are dropped after; 0: never."
        )
        loader.add_option(
            "record_required", bool, False, "Refuse new turns while they cannot be recorded."
        )

    def configure(self, updated: set[str]) -> None:
        self._saved = bool("save_stream_file" in ctx.options and ctx.options.save_stream_file)
        if updated & _OPTIONS:
            if self._writer:
                self._former.append(self._writer)
            folder, required = ctx.options.record_dir, ctx.options.record_required
            if required and not folder:
                stop("record_required needs a record_dir", running=self._chain.running)
            settings = recorder.Settings(
                "",
                0,
                -1,
                rotate=self._size("record_rotate"),
                days=ctx.options.record_keep_days,
                size=self._size("record_keep_size"),
                journal_days=ctx.options.journal_keep_days,
            )
            path = Path(folder).expanduser() if folder else None
            self._writer = Writer(self._chain, path, settings, required=required)

    def _size(self, option: str) -> int:
        value = getattr(ctx.options, option)
        try:
            return human.parse_size(value) or 0
        except ValueError:
            said = f"{option} must be a size such as 64m, is {value!r}"
            stop(said, running=self._chain.running)

    async def running(self) -> None:
        if self._writer:
            await self._writer.start()

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
        elif self._writer and self._writer.on:
            await self._writer.room()
            if exchange:
                await self._begin(flow, exchange, self._writer)

    async def _begin(self, flow: http.HTTPFlow, exchange: Exchange, writer: Writer) -> None:
        begun = time.perf_counter()
        said = events.begun(
            self._who(exchange)
            | {
                "model": exchange.turn.model,
                "route": summary.route_fields(exchange.route),
            }
        )
        data = self._redactor(exchange, "recorded").deep(msgspec.json.encode(said)).decode()
        self._begun[flow.id] = writer
        exchange.added += time.perf_counter() - begun
        why = await writer.begin(Begun(flow.id, exchange.started, data))
        if why:
            self._begun.pop(flow.id, None)
            exchange.upstream_request = None
            told = f"interpose: not sent, since it could not be recorded: {why}"
            exchange.fail(flow, Failure(told, 503, "not_recorded"))

    def _who(self, exchange: Exchange) -> dict[str, Any]:
        """Whose turn it is, and under which policy, as far as that is known."""
        session, thread, turn = exchange.conversation
        name, policy = client.client_name(exchange.headers), self._chain.policies.in_force()
        made = {"session": session, "thread": thread, "turn": turn}
        return {**made, "client": name, "policy": policy.version}

    def _redactor(self, exchange: Exchange, place: str) -> Redactor:
        stands, session = self._chain.policies.in_force(), ""
        if stands.policy.redact:
            session = exchange.facts.session if exchange.facts else ""
        return legs.redactor(frozenset(exchange.secrets), stands.masked(place), session)

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
        writer = self._begun.pop(flow.id, self._writer)
        if exchange is None or writer is None:
            return
        # A clock may be set back.
        ended = max(time.time(), exchange.started)
        stands = self._chain.policies.in_force()
        who = self._who(exchange)
        hide = self._redactor(exchange, "logged")
        row = _row(flow, exchange, hide, ended, who)
        kept = msgspec.to_builtins(row)
        self._chain.rows.append(kept)
        self._chain.metrics.add(kept, hide.text)
        self._chain.live.add(kept, hide.text)
        if spans := self._chain.spans:
            spans.add(kept, exchange.started, exchange.headers, hide.data)
        del self._chain.rows[:-_KEEP_ROWS]
        logger.log(logging.WARNING if row.error else logging.INFO, summary.line(row))
        view = ctx.master.addons.get("view")
        # A view whose filter shows nothing is false.
        looked_at = view is not None or self._saved
        if not writer.on and not looked_at:
            return
        job = _job(flow, exchange, kept, ended)
        job.rules = stands.masked("recorded")
        job.session = exchange.facts.session if exchange.facts and stands.policy.redact else ""
        job.times = (exchange.started, ended)
        writer.put(job)
        if looked_at:
            # The live flow becomes the client leg; in mitmweb the upstream leg stands beside it.
            shown = legs.flows(job)
            flow.request, flow.comment = shown[0].request, shown[0].comment
            flow.metadata |= shown[0].metadata
            flow.marked = shown[0].marked
            if flow.response and (told := shown[0].response):
                if exchange.sent:
                    flow.response.raw_content = told.raw_content
                    flow.response.headers = told.headers
                else:
                    self._chain.answers[flow] = told
            if view is not None and len(shown) > 1:
                view.add(shown[1:])


def _is_turn(flow: http.HTTPFlow) -> bool:
    ours = is_ours(flow) and not flow.is_replay
    return ours and flow.request.method == "POST" and bool(protocol_of(flow.request.path))


_OPTIONS = {
    "record_dir",
    "record_rotate",
    "record_keep_days",
    "record_keep_size",
    "journal_keep_days",
    "record_required",
}


def _row(
    flow: http.HTTPFlow, exchange: Exchange, redact: Redactor, ended: float, who: dict[str, Any]
) -> summary.Row:
    broke = flow.error.msg if flow.error else None
    error = exchange.failure.message if exchange.failure else broke
    translator, first = exchange.translator, exchange.first_byte
    return summary.Row(
        exchange=flow.id,
        thread=who["thread"],
        model=exchange.turn.model,
        route=summary.route_fields(exchange.route),
        codex=exchange.codex,
        stream=exchange.turn.stream,
        status=_status(flow, exchange),
        calls=translator.calls if translator else 0,
        usage=summary.usage_fields(translator.usage if translator else None),
        ms={
            "total": round((ended - exchange.started) * 1000, 1),
            "first_byte": round(max(0, first - exchange.started) * 1000, 1) if first else None,
            "added": round(exchange.added * 1000, 2),
        },
        decisions=[redact.text(d) for d in exchange.decisions],
        seed=vars(exchange.turn).get("seed"),
        edited=exchange.edited,
        session=who["session"],
        account=msgspec.to_builtins(exchange.account) if exchange.account else None,
        error=redact.text(error) if error else None,
        client=who["client"],
        turn=who["turn"],
        policy=who["policy"],
    )


def _status(flow: http.HTTPFlow, exchange: Exchange) -> int:
    """The upstream's own status where it said one, else what the client got."""
    if exchange.failure and exchange.failure.status:
        return exchange.failure.status
    return flow.response.status_code if flow.response else 502


def _job(flow: http.HTTPFlow, exchange: Exchange, row: dict[str, Any], ended: float) -> Job:
    """The exchange as the recorder wants it."""
    pairs = [(exchange.client_request, flow.response, exchange.sent)]
    if exchange.upstream_request:
        upstream = exchange.upstream_response
        pairs.append((exchange.upstream_request, upstream, exchange.received))
    told: list[Leg] = []
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
        told.append((_fields(request), answered))
    connections = (flow.client_conn.get_state(), flow.server_conn.get_state())
    error = flow.error.get_state() if flow.error else None
    return Job(row, frozenset(exchange.secrets), connections, told, error, bodies)


def _fields(message: http.Message) -> dict[str, Any]:
    """What a message is made of, without its body."""
    data = message.data
    trailers = data.trailers.fields if data.trailers else None
    return {**vars(data), "headers": data.headers.fields, "content": b"", "trailers": trailers}
