"""The runner: the one addon that mitmproxy calls. It leads each request through the stages.

A flow's address is taken away before the first stage and given back, last, with the request that
the last stage built: whatever breaks or hangs in between leaves nowhere to go. Each stage is called
with values, and what it raises is caught around it, in both directions (see `addons.faults`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec
from mitmproxy import connection, ctx, exceptions, http
from mitmproxy.proxy.mode_specs import RegularMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import ClientHelloData

from addons import bounded, faults, guard, heads, http1, log_lines, unseen
from addons.answering import Answering
from addons.flow_values import (
    NOWHERE,
    as_sent,
    cleaned,
    client_request,
    response,
    upstream_request,
)
from addons.redaction import hider
from addons.runs import Run, admit, begin, forget, owned_by, run_of, with_body
from addons.services import Services
from addons.stage import Stage
from shim.exchange.access import bare
from shim.exchange.replies import refusal, refusal_of_size
from shim.exchange.values import Access, Decision, Reply, UpstreamRequest
from shim.record.redact import redactor
from shim.shown import line

logger = logging.getLogger(__name__)

_PARTS = tuple(name for name in Decision.__struct_fields__ if name != "notes")
_UNCONFIGURED = (
    "interpose: the chain could not be set up as its options and its policy want, so nothing is"
    " sent; its log says why"
)
#: Seconds between two looks whether a runner that was replaced has nothing under way.
_LOOK = 0.1


class Viewer(Protocol):
    """Whoever looks at flows for mitmweb, once the chain is through with them."""

    def viewed(self, flow: http.HTTPFlow, access: Access | None) -> None:
        """The flow has ended, or was read from a file (no access)."""


class Runner:
    """Runs ``stages`` in their order; ``intake`` is the one that reads a request as a turn."""

    def __init__(
        self,
        services: Services,
        intake: Any,
        stages: Sequence[Stage],
        viewers: Sequence[Viewer] = (),
    ) -> None:
        self._services = services
        self._intake = intake
        self._stages = [intake, *stages]
        self._viewers = viewers
        self._patience = 0.0
        #: Options that were not taken over; none, once a chain is as they want it.
        self._pending = {"all of them"}
        self._bind()

    def _bind(self) -> None:
        """Look the hooks up once: not something to do per request."""
        self._answering = Answering(self._hooks, self._services)
        self._prepared = self._hooks("request")
        self._pages = self._hooks("page")

    def _hooks(self, name: str) -> list[tuple[Any, Callable[..., Any]]]:
        """The stages that have a hook, each with it."""
        return [(s, getattr(s, name)) for s in self._stages if hasattr(s, name)]

    # ---- the life of the chain ----

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "stage_timeout",
            int,
            120,
            "Seconds that a turn's preparation may take before it is refused.",
        )
        # A script that is loaded anew must not end the process, and what is under way in it.
        self._services.running = guard.install()
        for part in (http1, heads, bounded, log_lines):
            part.install()
        for stage in (*self._stages, *self._viewers):
            if hasattr(stage, "load"):
                stage.load(loader)
            ctx.master.commands.collect_commands(stage)

    def configure(self, updated: set[str]) -> None:
        self._patience = float(ctx.options.stage_timeout)
        self._answering.patience = self._patience
        # A script that is loaded anew stays in place though it could not be configured.
        updated = self._pending = updated | self._pending
        for stage in (*self._stages, *self._viewers):
            if not hasattr(stage, "configure"):
                continue
            try:
                stage.configure(updated)
            except exceptions.OptionsError:
                raise
            except Exception as e:
                # mitmproxy takes a change of options back for this exception only.
                logger.exception("an option could not be set")
                raise exceptions.OptionsError(f"interpose: {e}") from e
        self._pending = set()

    # mitmproxy calls both from sync code when a script is loaded anew, and awaits them else.

    def running(self) -> Awaitable[None]:
        return asyncio.ensure_future(self._running())

    def done(self) -> Awaitable[None]:
        return asyncio.ensure_future(self._done())

    async def _running(self) -> None:
        for stage, hook in self._hooks("running"):
            await faults.call_async(stage, hook)

    async def _done(self) -> None:
        while owned_by(self) and not ctx.master.should_exit.is_set():
            # The script was loaded anew: what is under way ends with the stages it began with.
            await asyncio.sleep(_LOOK)
        for stage, hook in self._hooks("done"):
            try:
                await faults.call_async(stage, hook)
            except faults.StageFault as e:
                logger.error("%s", e, exc_info=e)

    # ---- connections ----

    def client_connected(self, client: connection.Client) -> None:
        proxied, host = isinstance(client.proxy_mode, RegularMode), str(client.peername[0])
        try:
            for stage, hook in self._hooks("client_connected"):
                if why := faults.call(stage, hook, host, proxied):
                    client.error = why
                    return
        except faults.StageFault as e:
            logger.error("%s", e, exc_info=e)
            client.error = str(e)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        try:
            for stage, hook in self._hooks("server_connect"):
                if why := faults.call(stage, hook):
                    data.server.error = why
        except faults.StageFault as e:
            logger.error("%s", e, exc_info=e)
            data.server.error = str(e)

    def http_connect(self, flow: http.HTTPFlow) -> None:
        if not isinstance(flow.client_conn.proxy_mode, RegularMode):
            reply: Reply | None = refusal("", 405, "CONNECT is served by a forward proxy only")
        else:
            reply = self._connect_reply()
        if reply:
            flow.response = response(reply)
        else:
            admit(flow)

    def _connect_reply(self) -> Reply | None:
        if self._pending:
            return refusal("", 500, _UNCONFIGURED)
        try:
            for stage, hook in self._hooks("http_connect"):
                if reply := faults.call(stage, hook):
                    return reply
        except faults.StageFault as e:
            logger.error("%s", e, exc_info=e)
            return refusal("", 500, f"interpose: {e}")
        return None

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        for stage, hook in self._hooks("proxy_authorization"):
            if value := faults.call(stage, hook, flow.request.host):
                flow.request.headers["proxy-authorization"] = value

    def tls_clienthello(self, data: ClientHelloData) -> None:
        context = data.context
        proxied = isinstance(context.client.proxy_mode, RegularMode)
        if not proxied or context.server.address is None:
            return
        host, port = context.server.address[:2]
        for stage, hook in self._hooks("looks_into"):
            data.ignore_connection = not faults.call(stage, hook, host, port)

    # ---- a request ----

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        if flow.response or not flow.live:
            return
        data = flow.request.data
        target = data.host, data.port
        try:
            access = Access("turn", client_request(flow))
        finally:
            data.host, data.port = NOWHERE
        run = begin(flow, Run(self, access, flow.request, keys=self._services.keys()))
        try:
            result = self._admitted(access)
        except BaseException as e:
            if not faults.is_fault(e):
                raise
            result = faults.request_reply(run, e, self._patience)
        if isinstance(result, Reply) or result.kind != "foreign":
            # Whoever looks at flows sees it from now on; what leaves is built anew.
            cleaned(flow.request)
        if isinstance(result, Reply):
            self._reply(flow, run, result)
            return
        run.access = result
        if result.kind == "foreign":
            data.host, data.port = target
            flow.request.stream, run.sealed = True, True
            flow.server_conn.via = _via(result.way)

    def _admitted(self, access: Access) -> Access | Reply:
        if self._pending:
            return refusal(access.request.path, 500, _UNCONFIGURED)
        for stage, hook in self._hooks("requestheaders"):
            result = faults.call(stage, hook, access)
            if isinstance(result, Reply):
                return result
            access = result or access
        return access

    async def request(self, flow: http.HTTPFlow) -> None:
        run = run_of(flow)
        flow.request.trailers = None
        if not flow.live:
            self._view(flow, None)
        if run is None or run.sealed:
            return
        # Its head may have come to a runner that was replaced meanwhile.
        run.owner = self
        access, page = with_body(run.access, flow.request), run.access.kind == "page"
        if page or run.reply:
            # What a form holds is kept by nobody, nor what was refused.
            flow.request.raw_content = b""
        if run.reply:
            return
        if not page:
            run.access = access
        try:
            async with asyncio.timeout(self._patience or None):
                result = await (self._turn(run) if run.is_turn else self._page(access))
            self._leave(flow, run, result)
        except BaseException as e:
            if not faults.is_fault(e):
                raise
            self._reply(flow, run, faults.request_reply(run, e, self._patience))
        unseen.halt(flow, run.reply)

    async def _page(self, access: Access) -> Reply | UpstreamRequest:
        for stage, hook in self._pages:
            if result := await faults.call_async(stage, hook, access):
                return result
        return refusal(access.request.path, 404, "nothing is served at this path")

    async def _turn(self, run: Run) -> Reply | UpstreamRequest:
        intake = await faults.call_async(self._intake, self._intake.intake, run.access.request)
        if isinstance(intake, Reply):
            return intake
        run.intake, run.decision = intake, Decision(intake.turn)
        run.policy = self._services.policies.in_force()
        for stage, hook in self._prepared:
            begun = time.perf_counter()
            result = await faults.call_async(stage, hook, intake, run.decision)
            result, reply = result if isinstance(result, tuple) else (result, None)
            if result is not None:
                run.decision = _checked(stage, run.decision, result)
            if not stage.waits:
                run.overhead += time.perf_counter() - begun
            if reply:
                return reply
        upstream = run.decision.upstream
        if upstream is None:
            raise RuntimeError("no stage has built the upstream request")
        return upstream

    def _leave(self, flow: http.HTTPFlow, run: Run, result: Reply | UpstreamRequest) -> None:
        """The last act of a whole pipeline: it alone gives a flow an address."""
        if isinstance(result, Reply):
            self._reply(flow, run, result)
            return
        flow.request = upstream_request(result, run.client)
        flow.server_conn.via = _via(result.via)
        run.sealed = True

    # ---- what `addons.bounded` asks while bodies arrive ----

    @property
    def most_bytes(self) -> int:
        """Bytes of a body at most; 0: no limit."""
        return self._services.body_limit.most

    def request_too_large(self, flow: http.HTTPFlow, run: Run) -> None:
        """Refuse a request of which more has come than is taken."""
        limit = self._services.body_limit
        self._reply(flow, run, refusal_of_size(run.access.request.path, limit))

    def answer_too_large(self, flow: http.HTTPFlow, run: Run) -> None:
        """Answer in the place of an upstream of which more has come than is taken."""
        self._reply(flow, run, run.owner._answering.too_large(run))

    def unanswered(self, run: Run, status: int, why: str) -> http.Response:
        """What the client is told of an upstream, or of itself, that gives no whole answer."""
        return response(faults.broken_reply(run, status, why))

    def _reply(self, flow: http.HTTPFlow, run: Run, reply: Reply) -> None:
        if reply.failure and run.intake is None:
            # A path that nobody serves may hold a key, and is repeated.
            body = redactor(run.secrets).deep(reply.body)
            reply = msgspec.structs.replace(reply, body=body)
        run.reply = reply
        flow.response = response(reply)
        if reply.failure and run.intake is None:
            request, policy = run.access.request, self._services.policies.in_force()
            what = f"{request.method} {bare(request.path)} · {reply.status}"
            hide = hider(run.secrets, None, policy, "logged")
            logger.warning("%s", line(hide.text(f"{what} · {reply.failure.message}")))

    # ---- its answer ----

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        if run := run_of(flow):
            run.owner._answering.responseheaders(flow, run)

    async def response(self, flow: http.HTTPFlow) -> None:
        await self._end(flow)

    async def error(self, flow: http.HTTPFlow) -> None:
        await self._end(flow)

    async def _end(self, flow: http.HTTPFlow) -> None:
        run = run_of(flow)
        if run is None:
            self._view(flow, None)
            return
        if run.over:
            return
        run.over = True
        if flow.response:
            # Of a streamed answer they would still be sent, which HTTP/1 does not do here.
            flow.response.trailers = None
        if run.reply:
            flow.request = as_sent(run.access.request, run.client)
        try:
            await run.owner._answering.end(flow, run)
            self._view(flow, run.access)
        finally:
            if run.access.kind != "socket":
                forget(flow)
        unseen.halt(flow, run.reply)

    def _view(self, flow: http.HTTPFlow, access: Access | None) -> None:
        for viewer in self._viewers:
            try:
                viewer.viewed(flow, access)
            except Exception:
                logger.exception("a flow could not be shown as it should")

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        cleaned(flow.request)

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        # mitmproxy would keep all messages; each turn in them has a flow of its own.
        if flow.websocket:
            del flow.websocket.messages[:-1]


def _checked(stage: Stage, before: Decision, after: Decision) -> Decision:
    """``after``, if ``stage`` has written nothing that is another stage's."""
    for part in _PARTS:
        if part not in stage.writes and getattr(before, part) is not getattr(after, part):
            raise TypeError(f"the stage {stage.name} may not write {part}")
    return after


def _via(way: tuple[str, str, int] | None) -> Any:
    return (way[0], (way[1], way[2])) if way else None
