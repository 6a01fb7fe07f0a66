"""Bodies as they arrive: none is kept beyond ``body_limit``, and who sends one too large is told.

mitmproxy's own ``body_size_limit`` would answer with its own page, and count what only passes; a
refused request it would keep to its end. Here the client is answered in its own protocol as soon as
a body is too large, whoever sends it. The same goes for an upstream that breaks off.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy.layers import http as layers
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)

from addons.runs import Run, run_of

#: Bytes of a refused request that are waited for, where nothing bounds bodies.
_PATIENCE = 64 * 1024 * 1024

type _Commands = Generator[Any, Any, Any]


class Stream(layers.HttpStream):
    """One request and its answer, as mitmproxy leads them."""

    _run: Run | None = None
    _size = _most = 0

    # ---- a request ----

    def state_consume_request_body(self, event: Any) -> _Commands:
        run = run_of(self.flow)
        if run is None or not isinstance(event, RequestData):
            yield from super().state_consume_request_body(event)
            return
        self._size += len(event.data)
        self._most = run.owner.most_bytes
        if self.flow.response is None and (not self._most or self._size <= self._most):
            yield from super().state_consume_request_body(event)
        elif self._size > (self._most or _PATIENCE):
            yield from self._refuse(run)
        # What is refused already is not kept.

    def _refuse(self, run: Run) -> _Commands:
        """Answer before the request has ended; the rest of it is not kept."""
        flow = self.flow
        self.request_body_buf.clear()
        if flow.response is None:
            run.owner.request_too_large(flow, run)
        answer: Any = flow.response
        if flow.request.http_version.startswith("HTTP/1"):
            answer.headers["connection"] = "close"
        answer.timestamp_start = flow.request.timestamp_end = time.time()
        flow.request.data.content = b""
        self.client_state = self._drop_request_body
        yield layers.HttpResponseHeadersHook(flow)
        if (yield from self.check_killed(True)):
            return
        yield from self.send_response()
        yield layers.SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)
        flow.live = False

    def _drop_request_body(self, event: Any) -> _Commands:
        """A client may read its answer only once it has sent everything; up to a point it can."""
        if isinstance(event, RequestEndOfMessage):
            self.client_state = self.state_done
            yield layers.DropStream(self.stream_id)
        elif isinstance(event, RequestData):
            self._size += len(event.data)
            if self._size > 2 * (self._most or _PATIENCE):
                self.client_state = self.state_errored
                code = ErrorCode.REQUEST_TOO_LARGE
                error = ResponseProtocolError(self.stream_id, "the request is too large", code)
                yield layers.SendHttp(error, self.context.client)
                yield layers.DropStream(self.stream_id)

    # ---- its answer ----

    def state_consume_response_body(self, event: Any) -> _Commands:
        run = run_of(self.flow)
        if run and isinstance(event, ResponseData):
            most = run.owner.most_bytes
            size = len(self.response_body_buf) + len(event.data)
            if most and max(size, _declared(self.flow)) > most:
                yield from self._give_up(run)
                return
        yield from super().state_consume_response_body(event)

    def _give_up(self, run: Run) -> _Commands:
        """Answer in the upstream's place, and leave it."""
        self.response_body_buf.clear()
        run.owner.answer_too_large(self.flow, run)
        yield from self._leave_upstream()
        yield from self.send_response()
        self.server_state = self.state_errored

    def start_response_stream(self) -> _Commands:
        self._run = run_of(self.flow)
        return super().start_response_stream()

    def state_stream_response_body(self, event: Any) -> _Commands:
        # Once per piece: a further generator would cost more than all that is asked here.
        if self._run is None or not self._run.cut or not isinstance(event, ResponseData):
            return super().state_stream_response_body(event)
        return self._cut_off()

    def _cut_off(self) -> _Commands:
        """The client was told that its answer ends here."""
        yield from self._leave_upstream()
        yield from super().state_stream_response_body(ResponseEndOfMessage(self.stream_id))
        self.server_state = self.state_errored

    def _leave_upstream(self) -> _Commands:
        error = RequestProtocolError(self.stream_id, "its answer is too large", ErrorCode.CANCEL)
        yield layers.SendHttp(error, self.context.server)

    # ---- what breaks off ----

    def handle_protocol_error(self, event: Any) -> _Commands:
        return (yield from self._readable(super().handle_protocol_error(event)))

    def check_invalid(self, request: bool) -> _Commands:
        return (yield from self._readable(super().check_invalid(request)))

    def _readable(self, made: _Commands) -> _Commands:
        """The commands ``made``, and an answer before an error of which a client would be told by
        mitmproxy."""
        run, sent = None, None
        while True:
            try:
                command = made.send(sent)
            except StopIteration as e:
                return e.value
            # At its end the chain forgets a flow.
            run = run_of(self.flow) or run
            if run and isinstance(command, layers.SendHttp):
                yield from self._told(run, command)
            sent = yield command

    def _told(self, run: Run, command: layers.SendHttp) -> _Commands:
        error, client = command.event, self.context.client
        begun = self.server_state in (self.state_stream_response_body, self.state_done)
        writable = bool(client.state & ConnectionState.CAN_WRITE)
        if begun or not writable or not isinstance(error, ResponseProtocolError):
            return
        if (status := error.code.http_status_code()) is None:
            return
        answer = run.owner.unanswered(run, status, error.message)
        if self.flow.request.http_version.startswith("HTTP/1"):
            answer.headers["connection"] = "close"
        yield layers.SendHttp(ResponseHeaders(self.stream_id, answer, end_stream=False), client)
        yield layers.SendHttp(ResponseData(self.stream_id, answer.content), client)
        yield layers.SendHttp(ResponseEndOfMessage(self.stream_id), client)


def _declared(flow: http.HTTPFlow) -> int:
    """Bytes that the head of an answer promises."""
    length = flow.response.headers.get("content-length", "") if flow.response else ""
    return int(length) if length.isascii() and length.isdigit() else 0


def install() -> None:
    """Have it in mitmproxy, once."""
    inside: Any = layers
    inside.HttpStream = Stream
