"""Recording: each exchange as two linked flows, client and upstream leg, without keys."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
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

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "record_dir",
            str,
            default_folder(),
            "Folder for recorded flows; empty: nothing is recorded.",
        )

    def configure(self, updated: set[str]) -> None:
        if "record_dir" in updated:
            self._close()
            if ctx.options.record_dir:
                self._writer = _Writer(Path(ctx.options.record_dir).expanduser(), self._chain)

    def done(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None

    def response(self, flow: http.HTTPFlow) -> None:
        self._keep(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        self._keep(flow)

    def _keep(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange is None:
            return
        if exchange.sent and flow.response:
            flow.response.content = b"".join(exchange.sent)
        redact = Redactor(exchange.secrets)
        row = _row(flow, exchange, redact)
        self._chain.rows.append(msgspec.to_builtins(row))
        del self._chain.rows[:-_KEEP_ROWS]
        (logger.warning if row.error else logger.info)(summary.line(row))
        legs = _legs(flow, exchange, row)
        # In mitmweb the live flow becomes the client leg, and the upstream leg stands beside it.
        flow.request, flow.comment = _request(exchange.client_request, redact), legs[0].comment
        if len(legs) > 1 and (view := ctx.master.addons.get("view")):
            view.add([_redacted(legs[1], redact)])
        if self._writer:
            self._writer.put(legs, redact)


def _row(flow: http.HTTPFlow, exchange: Exchange, redact: Redactor) -> summary.Row:
    now = time.time()
    failed = exchange.failure
    broke = flow.error.msg if flow.error else None
    error = summary.failure_text(failed) or broke
    usage = exchange.translator.usage if exchange.translator else None
    first = exchange.first_byte
    return summary.Row(
        exchange=flow.id,
        thread=exchange.client_request.headers.get("thread-id"),
        model=exchange.turn.model,
        route=summary.route_fields(exchange.route),
        codex=exchange.codex,
        stream=exchange.turn.stream,
        status=_status(flow, exchange),
        calls=exchange.translator.calls if exchange.translator else 0,
        usage=summary.usage_fields(usage),
        ms={
            "total": round((now - exchange.started) * 1000, 1),
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


def _legs(flow: http.HTTPFlow, exchange: Exchange, row: summary.Row) -> list[http.HTTPFlow]:
    """The client leg and, when the turn went out, the upstream leg; not yet redacted."""
    client = http.HTTPFlow(flow.client_conn, flow.server_conn)
    client.request = exchange.client_request
    client.response = flow.response.copy() if flow.response else None
    client.error = flow.error
    legs = [client]
    if exchange.upstream_request:
        upstream = http.HTTPFlow(flow.client_conn, flow.server_conn)
        upstream.request = exchange.upstream_request
        upstream.response = exchange.upstream_response
        if upstream.response:
            upstream.response.raw_content = b"".join(exchange.received)
            upstream.response.timestamp_end = time.time()
        upstream.error = flow.error
        legs.append(upstream)
    for leg, name in zip(legs, ("client", "upstream"), strict=False):
        leg.comment = msgspec.json.encode({"leg": name, **msgspec.to_builtins(row)}).decode()
    return legs


def _request(request: http.Request, redact: Redactor) -> http.Request:
    """A copy of ``request`` without credentials."""
    copy = request.copy()
    copy.headers = http.Headers(redact.headers(copy.headers.fields))
    copy.path = redact.path(copy.path)
    if copy.raw_content:
        copy.raw_content = redact.data(copy.raw_content)
    return copy


def _redacted(leg: http.HTTPFlow, redact: Redactor) -> http.HTTPFlow:
    leg.request = _request(leg.request, redact)
    if leg.response:
        leg.response = leg.response.copy()
        leg.response.headers = http.Headers(redact.headers(leg.response.headers.fields))
        if leg.response.raw_content:
            leg.response.raw_content = redact.data(leg.response.raw_content)
    if leg.error:
        leg.error = mflow.Error(redact.text(leg.error.msg), leg.error.timestamp)
    return leg


class _Writer:
    """Redacts and appends flows in a thread of its own, so that no stream waits for the disk."""

    def __init__(self, folder: Path, chain: Chain) -> None:
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.flow"
        self._path = folder / name
        self._chain = chain
        self._queue: queue.SimpleQueue[tuple[list[http.HTTPFlow], Redactor] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="interpose-record", daemon=True)
        self._thread.start()

    def put(self, legs: list[http.HTTPFlow], redact: Redactor) -> None:
        self._queue.put((legs, redact))

    def close(self) -> None:
        """Write what is waiting, then end."""
        self._queue.put(None)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                self._append(*job)
            except OSError as e:
                if not self._chain.recording_error:
                    logger.error("not recorded: %s: %s", self._path, e.strerror or e)
                self._chain.recording_error = f"{self._path}: {e.strerror or e}"
            except Exception:
                logger.exception("not recorded")
                self._chain.recording_error = "an exchange could not be recorded; see the log"

    def _append(self, legs: list[http.HTTPFlow], redact: Redactor) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with open(descriptor, "ab") as file:
            writer = FlowWriter(file)
            for leg in legs:
                writer.add(_redacted(leg, redact))
        self._chain.flow_file = str(self._path)
        self._chain.recording_error = None
