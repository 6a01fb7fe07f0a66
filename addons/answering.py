"""The runner's way back: an upstream's answer goes through the stages, and the turn has an end.

Makers of the answer (translate, failover, …) can fail it; an observer that breaks is noted, and a
good answer still passes. Whatever broke, limits are settled and the journal gets its row.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec
from mitmproxy import ctx, http

from addons import faults
from addons.flow_values import head_of, response
from addons.gather import gather
from addons.redaction import hider
from addons.runs import Run, answers
from addons.services import Services
from shim.exchange.rows import row_of, unread_row
from shim.exchange.values import Decision, Ended, Fields, Outcome, Reply
from shim.notes import Note
from shim.record.redact import CLEAN
from shim.turn import Failure

logger = logging.getLogger(__name__)

_Hooks = Callable[[str], list[tuple[Any, Callable[..., Any]]]]


class Answering:
    """``hooks(name)`` are the stages that have that hook, in their order."""

    def __init__(self, hooks: _Hooks, services: Services) -> None:
        self._services = services
        self._heads = hooks("responseheaders")
        self._completed = hooks("completed")
        self._ends = {"response": hooks("response"), "error": hooks("error")}
        self._settles, self._ended = hooks("settle"), hooks("ended")
        self.patience = 0.0

    def responseheaders(self, flow: http.HTTPFlow, run: Run) -> None:
        """Decide how the answer goes on. The response object stays: replaced here, its body would
        follow behind another head."""
        if run.reply or flow.response is None or run.head:
            return
        if run.access.kind == "foreign":
            flow.response.stream = True
        if not run.is_turn:
            return
        run.head = head_of(flow.response)
        try:
            self._plan(run)
            if run.passage and run.passage.streams:
                flow.response.headers = _stream_fields(flow, run.passage.fields)
                flow.response.stream = self._tap(flow, run)
        except BaseException as e:
            if not faults.is_fault(e):
                raise
            self._fail(flow, run, faults.response_reply(run, e, self.patience))

    def _plan(self, run: Run) -> None:
        for stage, hook in self._heads:
            try:
                args = run.intake, run.decision, run.head, run.passage
                run.passage = faults.call(stage, hook, *args) or run.passage
            except faults.StageFault as e:
                if not stage.observes:
                    raise
                self._note(run, e)

    def _fail(self, flow: http.HTTPFlow, run: Run, reply: Reply) -> None:
        """Give the client ``reply`` in the place of an answer whose head has come."""
        assert flow.response
        run.reply = reply
        body = [reply.body]
        headers = {**reply.headers, "content-length": str(len(reply.body))}
        if flow.request.http_version.startswith("HTTP/1"):
            # Else the client's next request would wait for the end of the upstream's answer.
            headers["connection"] = "close"
        flow.response.status_code = reply.status
        flow.response.headers = http.Headers([(k.encode(), v.encode()) for k, v in headers.items()])
        flow.response.stream = lambda data: [body.pop()] if body else []

    def _tap(self, flow: http.HTTPFlow, run: Run) -> Callable[[bytes], list[bytes]]:
        """The stream function of a flow: the upstream's bytes in, the client's out; b"" ends it."""
        assert run.passage and run.passage.transcoder and run.decision
        transcoder = run.passage.transcoder
        received, sent = run.received.append, run.sent.append
        clock = time.perf_counter
        stores = run.decision.plan is not None
        broken = False

        def tap(data: bytes) -> list[bytes]:
            nonlocal broken, stores
            begun = clock()
            if data:
                received(data)
                if run.first_byte is None:
                    run.first_byte = time.time()
                    gather(flow)
            if broken:
                return []
            try:
                out = transcoder.feed(data) if data else transcoder.close()
                if stores and (finished := transcoder.response) is not None:
                    stores = False
                    self._complete(run, finished)
            except Exception as e:
                # The client must not hang: it gets a readable end.
                broken = True
                reply = faults.response_reply(run, e, self.patience)
                failure = reply.failure or Failure(str(e), 502)
                run.notes.append(Note("stream", "broken", failure.message))
                out = transcoder.abort(failure)
            run.overhead += clock() - begun
            # An empty chunk would end a chunked answer.
            if not out:
                return []
            sent(out)
            return [out]

        return tap

    def _complete(self, run: Run, finished: dict[str, Any]) -> None:
        for stage, hook in self._completed:
            faults.call(stage, hook, run.intake, run.decision, finished)

    async def end(self, flow: http.HTTPFlow, run: Run) -> None:
        """The request is over, with an answer or without."""
        status = flow.response.status_code if flow.response else 502
        streamed = bool(run.passage and run.passage.streams)
        if flow.response and run.head and not streamed and not run.reply:
            run.received = [flow.response.raw_content or b""]
        outcome = run.outcome(status)
        broke = flow.error.msg if flow.error else None
        if broke is not None:
            outcome = outcome.with_(broke=broke)
        if run.intake and run.decision:
            name = "response" if broke is None else "error"
            outcome = await self._made(run, run.decision, outcome, name, streamed=streamed)
            outcome = await self._settled(run, run.decision, outcome)
        if flow.response and not streamed and broke is None:
            if outcome.reply and outcome.reply is not run.reply:
                flow.response = response(outcome.reply)
            for name, value in outcome.headers.items():
                flow.response.headers[name] = value
        self._close(flow, run, outcome)

    async def _made(
        self, run: Run, decision: Decision, outcome: Outcome, name: str, *, streamed: bool
    ) -> Outcome:
        failed = False
        for stage, hook in self._ends[name]:
            # What the client got already is not made again.
            if (failed or run.reply) and not stage.observes:
                continue
            try:
                async with asyncio.timeout(self.patience or None):
                    args = run.intake, decision, outcome
                    outcome = await faults.call_async(stage, hook, *args) or outcome
            except BaseException as e:
                if not faults.is_fault(e):
                    raise
                if stage.observes:
                    outcome = outcome.note(stage.name, "broken", str(e))
                    faults.log(run, e)
                    continue
                failed = True
                reply = faults.response_reply(run, e, self.patience)
                outcome = outcome.with_(failure=reply.failure)
                if not streamed:
                    outcome = outcome.with_(reply=reply, status=reply.status)
        return outcome

    async def _settled(self, run: Run, decision: Decision, outcome: Outcome) -> Outcome:
        for stage, hook in self._settles:
            try:
                async with asyncio.timeout(self.patience or None):
                    args = run.intake, decision, outcome
                    outcome = await faults.call_async(stage, hook, *args) or outcome
            except BaseException as e:
                if not faults.is_fault(e):
                    raise
                outcome = outcome.note(stage.name, "broken", str(e))
                faults.log(run, e)
        return outcome

    def _close(self, flow: http.HTTPFlow, run: Run, outcome: Outcome) -> None:
        """Write the end down: of turns, and of what was sent as one and could not be read."""
        request = run.access.request
        if not run.is_turn or not (run.intake or request.body):
            self.clean(flow)
            return
        ended = Ended(
            access=run.access,
            intake=run.intake,
            decision=run.decision,
            outcome=outcome,
            row=self._row(run, outcome),
            connections=(flow.client_conn.get_state(), flow.server_conn.get_state()),
            error=flow.error.get_state() if flow.error else None,
            answer=head_of(flow.response) if flow.response else None,
        )
        for stage, hook in self._ended:
            try:
                if shown := faults.call(stage, hook, ended):
                    self._show(flow, shown)
            except faults.StageFault as e:
                faults.log(run, e)

    def _row(self, run: Run, outcome: Outcome) -> dict[str, Any]:
        """The turn's row; where it cannot be summed up, one of plain fields."""
        policy = ""
        try:
            in_force = self._services.policies.in_force()
            policy = in_force.version
            hide = hider(run.intake, run.decision, in_force, "logged").text
            if run.intake is None or run.decision is None:
                row = unread_row(run.access, outcome, policy, hide)
            else:
                row = row_of(run.intake, run.decision, outcome, policy, hide)
        except Exception as e:
            faults.log(run, e)
            row = unread_row(run.access, outcome, policy, lambda text: "(see the log)")
        return dict(msgspec.to_builtins(row))

    def _show(self, flow: http.HTTPFlow, shown: list[http.HTTPFlow]) -> None:
        """The live flow becomes the client leg; in mitmweb the upstream leg stands beside it."""
        flow.request, flow.comment = shown[0].request, shown[0].comment
        flow.metadata |= shown[0].metadata
        flow.marked = shown[0].marked
        if flow.response and (answer := shown[0].response):
            if flow.response.stream:
                flow.response.raw_content = answer.raw_content
                flow.response.headers = answer.headers
            else:
                answers[flow] = answer
        view = ctx.master.addons.get("view")
        # A view whose filter shows nothing is false.
        if view is not None and len(shown) > 1:
            view.add(shown[1:])

    def _note(self, run: Run, e: faults.StageFault) -> None:
        run.notes.append(Note(e.stage, "broken", str(e)))
        faults.log(run, e)

    def clean(self, flow: http.HTTPFlow) -> None:
        """Take the keys out of a request that is not recorded but may be seen or saved (``-w``)."""
        request = flow.request
        request.headers = http.Headers(CLEAN.headers(request.headers.fields))
        request.path = CLEAN.path(request.path)


def _stream_fields(flow: http.HTTPFlow, fields: Fields) -> http.Headers:
    headers = http.Headers(fields)
    if flow.request.http_version == "HTTP/1.1":
        headers["transfer-encoding"] = "chunked"
    return headers
