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
from addons.flow_values import clean, clean_answer, cleaned, head_of, response
from addons.gather import gather
from addons.redaction import hider
from addons.runs import Run, answers
from addons.services import Services
from shim.encodings import Limit
from shim.exchange.answers import feeder
from shim.exchange.conceal import ConcealedStream, concealed_fields, hidden_from_client
from shim.exchange.rows import last_row, legible, row_of, unread_row
from shim.exchange.upstream_request import kept_fields
from shim.exchange.values import Decision, Ended, Fields, Outcome, Reply
from shim.notes import Note
from shim.shown import field_value
from shim.turn import Failure, WireError

logger = logging.getLogger(__name__)

#: A streamed answer may be so many times as large as a body: nothing of it waits here.
_STREAMED = 4

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
        clean_answer(flow.response)
        if run.access.kind == "foreign":
            flow.response.stream = True
        try:
            _check_final(flow.response, run)
            if not run.is_turn:
                return
            run.head = head_of(flow.response)
            self._plan(run)
            if run.passage and run.passage.streams:
                flow.response.headers = _stream_fields(
                    run, concealed_fields(run.passage.fields, _hidden(run))
                )
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
        made = response(reply)
        flow.response.status_code, flow.response.reason = reply.status, made.reason
        flow.response.headers = made.headers
        if flow.request.http_version.startswith("HTTP/1"):
            # Else the client's next request would wait for the end of the upstream's answer.
            flow.response.headers["connection"] = "close"
        flow.response.stream = lambda data: [body.pop()] if body else []

    def _tap(self, flow: http.HTTPFlow, run: Run) -> Callable[[bytes], list[bytes]]:
        """The stream function of a flow: the upstream's bytes in, the client's out; b"" ends it."""
        assert run.intake and run.passage and run.passage.transcoder and run.decision
        transcoder, route = run.passage.transcoder, run.decision.route
        limit = self._services.body_limit.times(_STREAMED)
        feed = feeder(run.passage, route.provider if route else "", limit)
        shown = ConcealedStream(run.intake.turn.protocol, _hidden(run)).feed
        received, sent = run.received.append, run.sent.append
        clock = time.perf_counter
        stores = run.decision.plan is not None
        size = 0

        def tap(data: bytes) -> list[bytes]:
            nonlocal stores, size
            if run.cut:
                return []
            begun = clock()
            if data:
                received(data)
                size += len(data)
                if run.first_byte is None:
                    run.first_byte = time.time()
                    gather(flow)
            try:
                if limit.exceeded(size):
                    raise self._too_large(run, limit)
                out = feed(data) if data else transcoder.close()
                out = shown(out, last=not data)
                if stores and (finished := transcoder.response) is not None:
                    stores = False
                    self._complete(run, finished)
            except Exception as e:
                # The client must not hang: it gets a readable end, and the upstream is left.
                run.cut = True
                reply = faults.response_reply(run, e, self.patience)
                failure = reply.failure or Failure(str(e), 502)
                run.notes.append(Note("stream", "broken", failure.message))
                out = shown(transcoder.abort(failure), last=True)
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

    def _too_large(self, run: Run, limit: Limit) -> WireError:
        route = run.decision.route if run.decision else None
        named = f"{route.provider}: " if route else ""
        return WireError(f"{named}{limit.sentence('the answer has')}", status=502)

    def too_large(self, run: Run) -> Reply:
        """What the client gets in the place of an answer that is too large."""
        why = self._too_large(run, self._services.body_limit)
        return faults.response_reply(run, why, self.patience)

    async def end(self, flow: http.HTTPFlow, run: Run) -> None:
        """The request is over, with an answer or without."""
        outcome = run.outcome(flow.response.status_code if flow.response else 502)
        try:
            outcome = await self._outcome(flow, run, outcome)
            self._answer(flow, run, outcome)
        except BaseException as e:
            if not faults.is_fault(e):
                raise
            # Whatever broke, it has an end.
            reply = faults.response_reply(run, e, self.patience)
            outcome = outcome.with_(failure=reply.failure)
            if flow.response and not _streams(run):
                flow.response = response(reply)
                outcome = outcome.with_(reply=reply, status=reply.status)
        run.failure = outcome.failure
        self._close(flow, run, outcome)

    async def _outcome(self, flow: http.HTTPFlow, run: Run, outcome: Outcome) -> Outcome:
        streamed = _streams(run)
        if flow.response and run.head and not streamed and not run.reply:
            run.received = [flow.response.raw_content or b""]
            outcome = outcome.with_(received=tuple(run.received))
        broke = flow.error.msg if flow.error else None
        if broke is not None:
            outcome = outcome.with_(broke=broke)
        if run.intake and run.decision:
            name = "response" if broke is None else "error"
            outcome = await self._made(run, run.decision, outcome, name, streamed=streamed)
            outcome = await self._settled(run, run.decision, outcome)
        return outcome

    def _answer(self, flow: http.HTTPFlow, run: Run, outcome: Outcome) -> None:
        """What the client gets, where that did not go in pieces."""
        if flow.response is None:
            return
        if run.access.kind != "foreign" or flow.client_conn.alpn != b"h2":
            # mitmproxy cannot send them on by HTTP/1.
            flow.response.trailers = None
        if outcome.broke is not None or _streams(run):
            return
        reply = outcome.reply
        if reply and reply is not run.reply:
            flow.response = response(reply)
        elif reply and callable(flow.response.stream) and flow.response.raw_content == b"":
            # It took the place of an answer without a body, behind whose head nothing goes on.
            flow.response.raw_content = reply.body
        elif not reply and run.access.kind not in ("socket", "foreign"):
            flow.response.headers = _whole_fields(flow.response)
        if run.access.kind not in ("socket", "foreign"):
            fields = concealed_fields(flow.response.headers.fields, _hidden(run))
            flow.response.headers = http.Headers(fields)
        for name, value in outcome.headers.items():
            flow.response.headers[name] = field_value(value.encode("utf-8", "replace")).decode()

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
        """Write the end down: of turns, and of what came as one and could not be read."""
        request = run.access.request
        if not run.is_turn or not request.received:
            cleaned(flow.request, run.secrets)
            return
        ended = Ended(
            access=run.access,
            intake=run.intake,
            decision=run.decision,
            outcome=outcome,
            row=self._row(run, outcome),
            secrets=run.secrets,
            connections=(flow.client_conn.get_state(), flow.server_conn.get_state()),
            error=flow.error.get_state() if flow.error else None,
            answer=head_of(flow.response) if flow.response else None,
            policy=run.policy,
        )
        for stage, hook in self._ended:
            try:
                if shown := faults.call(stage, hook, ended):
                    self._show(flow, shown)
            except Exception as e:
                faults.log(run, e)

    def _row(self, run: Run, outcome: Outcome) -> dict[str, Any]:
        """The turn's row; where it cannot be summed up, one of plain fields."""
        try:
            policy = run.policy or self._services.policies.in_force()
            if run.intake is None or run.decision is None:
                row = unread_row(run.access, outcome, policy.version)
            else:
                row = row_of(run.intake, run.decision, outcome, policy.version)
            # Ids, and the names that a client gives a model, are its own words, too.
            hide = hider(run.secrets, run.decision, policy, "logged")
            return msgspec.json.decode(hide.deep(legible(row)), type=dict[str, Any])
        except Exception as e:
            faults.log(run, e)
            return last_row(run.access.request.id, outcome)

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


def _hidden(run: Run) -> frozenset[str]:
    """The keys that the client must not see."""
    if run.intake and run.decision:
        return hidden_from_client(run.intake, run.decision)
    return run.keys


def _streams(run: Run) -> bool:
    return bool(run.passage and run.passage.streams)


def _check_final(answer: http.Response, run: Run) -> None:
    """WireError for a head before the answer's own: mitmproxy takes it for the answer, and gives
    what follows to the next request, or to a tunnel that nobody has asked for."""
    asked = run.access.kind == "socket" or (
        run.access.kind == "foreign" and "upgrade" in run.access.request.headers
    )
    if answer.status_code < 200 and not asked:
        raise WireError(f"the upstream answered with a {answer.status_code} in place of an answer")


def _stream_fields(run: Run, fields: Fields) -> http.Headers:
    headers = clean(fields)
    if run.client.http_version not in ("HTTP/1.0", "HTTP/2.0"):
        headers["transfer-encoding"] = "chunked"
    return headers


def _whole_fields(answer: http.Response) -> http.Headers:
    """The fields of an answer that passes, without those of the upstream's connection."""
    headers = http.Headers(kept_fields(answer.headers.fields))
    if answer.status_code not in (204, 304):
        headers["content-length"] = str(len(answer.raw_content or b""))
    return headers
