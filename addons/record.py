"""Recording: each exchange as two linked flows, client and upstream leg, without keys.

A thread gathers what is to be written, the recorder beside the proxy writes it: no stream waits
for either. Only where somebody looks at the live flows (mitmweb, ``-w FILE``) are these cleaned.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from mitmproxy import ctx, http

from addons import recorder
from addons.exchange import Chain, Exchange, exchange_of
from shim.record import summary
from shim.record.folder import default_folder
from shim.record.redact import Redactor

logger = logging.getLogger(__name__)

_KEEP_ROWS = 1000


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
            str(default_folder()),
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
            job = self._writer.job(flow, exchange, ended)
            self._writer.put(lambda: job)
            legs = recorder.flows(job)
            flow.request, flow.comment = legs[0].request, legs[0].comment
            if exchange.sent and flow.response:
                flow.response.raw_content = b"".join(exchange.sent)
            if view and len(legs) > 1:
                view.add(legs[1:])
        else:
            writer = self._writer
            writer.put(lambda: writer.job(flow, exchange, ended))


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
        error=redact.text(error) if error else None,
    )


def _status(flow: http.HTTPFlow, exchange: Exchange) -> int:
    """The upstream's own status where it said one, else what the client got."""
    if exchange.failure and exchange.failure.status:
        return exchange.failure.status
    return flow.response.status_code if flow.response else 502


def _job(flow: http.HTTPFlow, exchange: Exchange, row: summary.Row, ended: float) -> recorder.Job:
    """The exchange as the recorder wants it."""
    pairs = [(exchange.client_request, flow.response, exchange.sent)]
    if exchange.upstream_request:
        upstream = exchange.upstream_response
        pairs.append((exchange.upstream_request, upstream, exchange.received))
    legs, bodies = [], []
    for request, response, pieces in pairs:
        leg = http.HTTPFlow(flow.client_conn, flow.server_conn)
        leg.request = http.Request(**{**_fields(request), "content": b""})
        bodies.append(request.raw_content or b"")
        body = b"".join(pieces)
        if response:
            leg.response = http.Response(**{**_fields(response), "content": b""})
            leg.response.timestamp_start = response.timestamp_start or ended
            leg.response.timestamp_end = response.timestamp_end or ended
            body = body or response.raw_content or b""
        bodies.append(body)
        leg.error = flow.error
        legs.append(leg.get_state())
    secrets = frozenset(exchange.secrets)
    return recorder.Job(msgspec.to_builtins(row), secrets, legs, bodies)


def _fields(message: http.Message) -> dict[str, Any]:
    return vars(message.data)


class _Writer:
    """Keeps rows and hands exchanges to the recorder, in the order in which they ended."""

    def __init__(self, chain: Chain, folder: Path | None) -> None:
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.flow"
        self._path = folder / name if folder else None
        self._chain = chain
        self._recorder: subprocess.Popen[bytes] | None = None
        self._queue: queue.Queue[Callable[[], recorder.Job] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="interpose-record", daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], recorder.Job]) -> None:
        """Write down soon what ``job`` gives; it is called in the writer's thread."""
        self._queue.put(job)

    def job(self, flow: http.HTTPFlow, exchange: Exchange, ended: float) -> recorder.Job:
        """The exchange's line in the log and its row, and what the recorder has to write."""
        redact = recorder.redactor(frozenset(exchange.secrets))
        row = _row(flow, exchange, redact, ended)
        self._chain.rows.append(msgspec.to_builtins(row))
        del self._chain.rows[:-_KEEP_ROWS]
        logger.log(logging.WARNING if row.error else logging.INFO, summary.line(row))
        return _job(flow, exchange, row, ended)

    def settle(self) -> None:
        """Wait until everything put so far is written."""
        self._queue.join()

    def close(self) -> None:
        """Write what is waiting, then end."""
        self._queue.put(None)
        self._thread.join(timeout=10)
        if self._recorder and self._recorder.stdin:
            self._recorder.stdin.close()
            self._recorder.wait(timeout=10)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                self._store(job())
            except Exception:
                logger.exception("not recorded")
                self._chain.recording_error = "an exchange could not be recorded; see the log"
            finally:
                self._queue.task_done()

    def _store(self, job: recorder.Job) -> None:
        if self._path is None:
            return
        why = self._record(job)
        if why and self._chain.recording_error != why:
            logger.error("not recorded: %s", why)
        self._chain.recording_error = why or None
        if not why:
            self._chain.flow_file = str(self._path)

    def _record(self, job: recorder.Job) -> str:
        """Why ``job`` is not in the file; empty when it is."""
        for _ in range(2):
            # A recorder that ended meanwhile is started again, so that nothing is lost with it.
            if self._recorder is None:
                self._recorder = self._start()
            said = b""
            process = self._recorder
            assert process.stdin and process.stdout
            try:
                recorder.send(job, process.stdin)
                said = process.stdout.readline()
            except OSError:
                pass
            if said:
                return said.decode().strip()
            self._recorder = None
        return f"{self._path}: the recorder ends before it has written an exchange"

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C ends the proxy, and then its stdin ends.
        return subprocess.Popen(
            [sys.executable, recorder.__file__, str(self._path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
