"""Recording: each exchange as two linked flows, client and upstream leg, without keys.

The recorder beside the proxy writes them: no stream waits for it. Only where somebody looks at
the live flows (mitmweb, ``-w FILE``) are these cleaned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from mitmproxy import ctx, http
from mitmproxy.utils import human

from addons import legs, recorder
from addons.fatal import fatal
from addons.jobs import Begun, Job, Leg
from addons.redaction import hider, sent_of, used_in
from addons.services import Services
from addons.stage import Stage
from addons.writer import Writer
from shim.exchange.replies import failed
from shim.exchange.rows import identity, secrets_of
from shim.exchange.values import (
    ClientRequest,
    Decision,
    Ended,
    Fields,
    Head,
    Intake,
    Outcome,
    Reply,
)
from shim.record import events, summary
from shim.record.folder import default_folder
from shim.turn import Failure

_OPTIONS = {
    "body_limit",
    "record_dir",
    "record_rotate",
    "record_keep_days",
    "record_keep_size",
    "journal_keep_days",
    "record_required",
}


class Record(Stage):
    """The last stage before a turn leaves, since what leaves is on the record."""

    waits = True

    def __init__(self, services: Services) -> None:
        self._services = services
        self._writer: Writer | None = None
        self._former: list[Writer] = []
        #: Where what has begun is written to the end.
        self._begun: dict[str, Writer] = {}
        self._saved = False
        services.hindrances.append(self._hindrance)
        services.recording.settle = self._settle

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
        if not updated & _OPTIONS:
            return
        if self._writer:
            self._former.append(self._writer)
        folder, required = ctx.options.record_dir, ctx.options.record_required
        if required and not folder:
            fatal("record_required needs a record_dir", running=self._services.running)
        settings = recorder.Settings(
            "",
            0,
            -1,
            rotate=self._size("record_rotate"),
            days=ctx.options.record_keep_days,
            size=self._size("record_keep_size"),
            journal_days=ctx.options.journal_keep_days,
            most=self._services.body_limit.most,
        )
        path = Path(folder).expanduser() if folder else None
        self._writer = Writer(self._services, path, settings, required=required)

    def _size(self, option: str) -> int:
        value = getattr(ctx.options, option)
        try:
            return human.parse_size(value) or 0
        except ValueError:
            message = f"{option} must be a size such as 64m, is {value!r}"
            fatal(message, running=self._services.running)

    async def running(self) -> None:
        if self._writer:
            await self._writer.start()

    async def done(self) -> None:
        for writer in (*self._former, self._writer):
            if writer:
                await writer.close()
        self._former, self._writer = [], None

    async def request(self, intake: Intake, decision: Decision) -> tuple[Decision, Reply] | None:
        writer = self._writer
        if writer is None or not writer.on:
            return None
        await writer.room()
        self._begun[intake.request.id] = writer
        why = await writer.begin(self._start(intake, decision))
        if not why:
            return None
        self._begun.pop(intake.request.id, None)
        text = f"interpose: not sent, since it could not be recorded: {why}"
        return decision, failed(intake, Failure(text, 503, "not_recorded"))

    def _start(self, intake: Intake, decision: Decision) -> Begun:
        """What the journal is told before the turn leaves."""
        policy = self._services.policies.in_force()
        ids = identity(intake, decision, policy.version)
        route = summary.route_fields(decision.route)
        fields = events.begun({**ids, "model": intake.turn.model, "route": route})
        hide = hider(intake.secrets, decision, policy, "recorded")
        data = hide.deep(msgspec.json.encode(fields)).decode()
        return Begun(intake.request.id, intake.request.started, data)

    def ended(self, ended: Ended) -> list[http.HTTPFlow] | None:
        """Have it written; the flows that whoever looks at the live ones may see."""
        writer = self._begun.pop(ended.access.request.id, self._writer)
        # A view whose filter shows nothing is false.
        watched = ctx.master.addons.get("view") is not None or self._saved
        if writer is None or not (writer.on or watched):
            return None
        policy = self._services.policies.in_force()
        job = _job(ended)
        job.rules, job.policy = policy.masked("recorded"), (ended.policy or policy).recorded
        facts = ended.decision.facts if ended.decision else None
        job.session = facts.session if facts and job.rules else ""
        job.used, job.sent = used_in(ended.decision), sent_of(ended.decision)
        writer.put(job)
        return legs.flows(job, self._services.body_limit) if watched else None

    def _hindrance(self) -> str:
        required = self._writer is not None and self._writer.required
        return "recording" if required and self._services.recording.error else ""

    async def _settle(self) -> None:
        if self._writer:
            await self._writer.settle()


def _job(ended: Ended) -> Job:
    """The exchange as the recorder wants it."""
    request, decision, outcome = ended.access.request, ended.decision, ended.outcome
    conversation = decision.conversation if decision else None
    body = request.body
    headers = request.fields
    if conversation and conversation.parent:
        # The whole turn: alone it can be replayed, and read.
        body = conversation.turn.body
        headers = tuple(f for f in headers if f[0].lower() != b"content-encoding")
    told: list[Leg] = [(_request(request, headers), _answer(ended.answer, outcome))]
    reply = outcome.reply.body if outcome.reply else b"".join(outcome.received)
    bodies = [body, b"".join(outcome.sent) or reply]
    upstream = decision.upstream if decision else None
    if upstream:
        fields = _request(request, upstream.fields) | {
            "host": upstream.host,
            "port": upstream.port,
            "method": upstream.method.encode(),
            "scheme": upstream.scheme.encode(),
            "authority": b"",
            "path": upstream.path.encode("utf-8", "surrogateescape"),
        }
        told.append((fields, _answer(outcome.upstream, outcome)))
        bodies += [upstream.body, b"".join(outcome.received)]
    times = (request.started, outcome.ended)
    secrets = secrets_of(ended)
    return Job(ended.row, secrets, ended.connections, told, ended.error, bodies, times=times)


def _request(request: ClientRequest, fields: Fields) -> dict[str, Any]:
    """A request as mitmproxy keeps it, without its body."""
    return {
        "http_version": request.http_version.encode(),
        "headers": fields,
        "content": b"",
        "trailers": None,
        "timestamp_start": request.started,
        "timestamp_end": request.received or request.started,
        "host": request.host,
        "port": request.port,
        "method": request.method.encode(),
        "scheme": request.scheme.encode(),
        "authority": b"",
        "path": request.path.encode("utf-8", "surrogateescape"),
    }


def _answer(head: Head | None, outcome: Outcome) -> dict[str, Any] | None:
    """The same of an answer."""
    if head is None:
        return None
    return {
        "http_version": head.http_version.encode(),
        "headers": head.fields,
        "content": b"",
        "trailers": None,
        "timestamp_start": head.started,
        "timestamp_end": outcome.ended,
        "status_code": head.status,
        "reason": head.reason.encode("utf-8", "surrogateescape"),
    }
