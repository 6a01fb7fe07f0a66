"""Recording: each exchange as two linked flows, client and upstream leg, without keys.

Everything is written down by a thread of its own, so that no stream waits for it. Only where
somebody looks at the live flows (mitmweb, ``-w FILE``) are they cleaned of keys before that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sys
import threading
import time
from functools import lru_cache
from pathlib import Path

import msgspec
from mitmproxy import ctx, http
from mitmproxy import flow as mflow
from mitmproxy.io import FlowWriter

from addons.exchange import Chain, Exchange, exchange_of
from shim.record import summary
from shim.record.redact import Redactor

logger = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[1]
_KEEP_ROWS = 1000


def default_folder() -> str:
    """``flows/local`` of a checkout; for an installed package the user's own state folder."""
    if (_ROOT / "pyproject.toml").exists():
        return str(_ROOT / "flows" / "local")
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return str(Path(state).expanduser() / "interpose" / "flows")


class Record:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._writer: _Writer | None = None
        self._saved = False
        chain.settle = self._settle

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "record_dir",
            str,
            default_folder(),
            "Folder for recorded flows; empty: nothing is recorded.",
        )
        # The writer's thread must not keep the event loop waiting for the usual 5 ms.
        sys.setswitchinterval(0.00005)

    def configure(self, updated: set[str]) -> None:
        self._saved = bool("save_stream_file" in ctx.options and ctx.options.save_stream_file)
        if "record_dir" in updated:
            self.done()
            folder = ctx.options.record_dir
            self._writer = _Writer(self._chain, Path(folder).expanduser() if folder else None)

    def done(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None

    def response(self, flow: http.HTTPFlow) -> None:
        self._keep(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        self._keep(flow)

    async def _settle(self) -> None:
        if self._writer:
            await asyncio.to_thread(self._writer.settle)

    def _keep(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange is None or self._writer is None:
            return
        ended = time.time()
        view = ctx.master.addons.get("view")
        if view or self._saved:
            # The live flow becomes the client leg; in mitmweb the upstream leg stands beside it.
            legs = self._writer.take(flow, exchange, ended)
            flow.request, flow.comment = legs[0].request, legs[0].comment
            if exchange.sent and flow.response:
                flow.response.raw_content = b"".join(exchange.sent)
            if view and len(legs) > 1:
                view.add(legs[1:])
        else:
            self._writer.put(flow, exchange, ended)


def _row(flow: http.HTTPFlow, exchange: Exchange, redact: Redactor, ended: float) -> summary.Row:
    broke = flow.error.msg if flow.error else None
    error = summary.failure_text(exchange.failure) or broke
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
        error=redact.text(error) if error else None,
    )


def _status(flow: http.HTTPFlow, exchange: Exchange) -> int:
    """The upstream's own status where it said one, else what the client got."""
    if exchange.failure and exchange.failure.status:
        return exchange.failure.status
    return flow.response.status_code if flow.response else 502


def _legs(
    flow: http.HTTPFlow, exchange: Exchange, row: summary.Row, redact: Redactor, ended: float
) -> list[http.HTTPFlow]:
    """The client leg and, when the turn went out, the upstream leg, without keys."""
    sent = b"".join(exchange.sent) if exchange.sent else None
    asked = redact.data(exchange.client_request.raw_content or b"")
    pairs = [("client", exchange.client_request, asked, flow.response, sent)]
    if exchange.upstream_request:
        passed = exchange.upstream_request.raw_content or b""
        if asked is not exchange.client_request.raw_content:
            # What holds no key on one side holds none on the other: long bodies are read once.
            passed = redact.data(passed)
        received = b"".join(exchange.received)
        upstream = exchange.upstream_response
        pairs.append(("upstream", exchange.upstream_request, passed, upstream, received))
    legs = []
    for name, request, content, response, body in pairs:
        leg = http.HTTPFlow(flow.client_conn, flow.server_conn)
        leg.request = _request(request, content, redact)
        leg.response = _response(response, body, redact, ended) if response else None
        if flow.error:
            leg.error = mflow.Error(redact.text(flow.error.msg), flow.error.timestamp)
        leg.comment = msgspec.json.encode({"leg": name, **msgspec.to_builtins(row)}).decode()
        legs.append(leg)
    return legs


def _request(request: http.Request, content: bytes, redact: Redactor) -> http.Request:
    data = request.data
    return http.Request(
        data.host,
        data.port,
        data.method,
        data.scheme,
        data.authority,
        redact.path(request.path).encode(),
        data.http_version,
        http.Headers(redact.headers(data.headers.fields)),
        content,
        data.trailers,
        data.timestamp_start,
        data.timestamp_end,
    )


def _response(
    response: http.Response, body: bytes | None, redact: Redactor, ended: float
) -> http.Response:
    data = response.data
    return http.Response(
        data.http_version,
        data.status_code,
        data.reason,
        http.Headers(redact.headers(data.headers.fields)),
        redact.data((data.content if body is None else body) or b""),
        data.trailers,
        data.timestamp_start or ended,
        data.timestamp_end or ended,
    )


@lru_cache(maxsize=64)
def _redactor(secrets: frozenset[str]) -> Redactor:
    return Redactor(secrets)


class _Writer:
    """Keeps rows and appends flows; one thread, in the order in which exchanges ended."""

    def __init__(self, chain: Chain, folder: Path | None) -> None:
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.flow"
        self._path = folder / name if folder else None
        self._chain = chain
        self._queue: queue.Queue[tuple[http.HTTPFlow, Exchange, float] | None] = queue.Queue()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="interpose-record", daemon=True)
        self._thread.start()

    def put(self, flow: http.HTTPFlow, exchange: Exchange, ended: float) -> None:
        """Write the exchange down soon."""
        self._queue.put((flow, exchange, ended))

    def take(self, flow: http.HTTPFlow, exchange: Exchange, ended: float) -> list[http.HTTPFlow]:
        """Write the exchange down now, and give its legs, without keys."""
        redact = _redactor(frozenset(exchange.secrets))
        row = _row(flow, exchange, redact, ended)
        self._chain.rows.append(msgspec.to_builtins(row))
        del self._chain.rows[:-_KEEP_ROWS]
        logger.log(logging.WARNING if row.error else logging.INFO, summary.line(row))
        legs = _legs(flow, exchange, row, redact, ended)
        try:
            self._append(legs)
        except OSError as e:
            why = f"{self._path}: {e.strerror or e}"
            if self._chain.recording_error != why:
                logger.error("not recorded: %s", why)
            self._chain.recording_error = why
        return legs

    def settle(self) -> None:
        """Wait until everything put so far is written."""
        self._queue.join()

    def close(self) -> None:
        """Write what is waiting, then end."""
        self._queue.put(None)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                self.take(*job)
            except Exception:
                logger.exception("not recorded")
                self._chain.recording_error = "an exchange could not be recorded; see the log"
            finally:
                self._queue.task_done()

    def _append(self, legs: list[http.HTTPFlow]) -> None:
        if self._path is None:
            return
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with open(descriptor, "ab") as file:
                writer = FlowWriter(file)
                for leg in legs:
                    writer.add(leg)
        self._chain.flow_file = str(self._path)
        self._chain.recording_error = None
