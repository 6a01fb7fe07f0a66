"""Heads of HTTP/1 messages as mitmproxy reads them, where a turn would hang or memory would fill.

An upstream may say 1xx before its answer (RFC 9110, section 15.2): mitmproxy takes that for the
answer. A head that never ends, and what a client sends while it waits, is kept without bound; what
nobody waits for, or what breaks off, goes into the log with the keys that it holds.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

from h11._receivebuffer import ReceiveBuffer
from mitmproxy.connection import Connection
from mitmproxy.net.http import status_codes
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers import http as layers
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestProtocolError,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.server import ConnectionHandler

#: Bytes of a head, and of what a client sends before its last request is answered.
MOST_HEAD, MOST_AHEAD = 256 * 1024, 1024 * 1024
_INFORMATIONAL = re.compile(rb"HTTP/\d\.\d +1(\d\d)[ \r\n]")
_UPGRADE = b"01"

type _Commands = Generator[Any, Any, None]


class Upstream(_http1.Http1Client):
    """The chain's side of a connection to an upstream."""

    def read_headers(self, event: Any) -> _Commands:
        if isinstance(event, events.DataReceived):
            if self.request is None:
                self.buf = ReceiveBuffer()
                yield commands.Log("an upstream has sent more than its answer: closed")
                yield commands.CloseConnection(self.conn)
                return
            if why := self._passed_over():
                yield from self._fail(why)
                return
        for command in super().read_headers(event):
            head = isinstance(command, ReceiveHttp) and isinstance(command.event, ResponseHeaders)
            if head and self.response and "connection" in self.response.headers:
                # Hooks take the field out of what they are given: a connection that the upstream
                # closes would carry the client's next turn.
                self.response = self.response.copy()
            yield command
        if self.state == self.read_headers and len(self.buf) > MOST_HEAD:
            yield from self._fail("the head of the answer is too long")

    def _passed_over(self) -> str:
        """Leave out each 1xx that is whole; what is wrong with one, if anything is."""
        assert self.request
        while found := _INFORMATIONAL.match(bytes(self.buf)):
            if found[1] == _UPGRADE:
                upgrades = "upgrade" in self.request.headers
                return "" if upgrades else "it answers 101 to what is no upgrade"
            if self.buf.maybe_extract_lines() is None:
                break
        return ""

    def _fail(self, why: str) -> _Commands:
        assert self.stream_id is not None
        self.buf = ReceiveBuffer()
        yield commands.CloseConnection(self.conn)
        yield ReceiveHttp(
            ResponseProtocolError(self.stream_id, why, ErrorCode.GENERIC_SERVER_ERROR)
        )


class Client(_http1.Http1Server):
    """The chain's side of a connection to a client."""

    def read_headers(self, event: Any) -> _Commands:
        if isinstance(event, events.ConnectionClosed):
            self.buf = ReceiveBuffer()
        yield from super().read_headers(event)
        if self.state == self.read_headers and len(self.buf) > MOST_HEAD:
            self.buf = ReceiveBuffer()
            status, why = status_codes.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too long"
            yield commands.SendData(self.conn, _http1.make_error_response(status, why))
            yield commands.CloseConnection(self.conn)
            self.state = self.done

    def read_body(self, event: Any) -> _Commands:
        for command in super().read_body(event):
            broken = isinstance(command, commands.CloseConnection) and not self.response
            if broken and isinstance(event, events.DataReceived):
                why = "the request's body is not framed as its head says"
                yield commands.SendData(self.conn, _http1.make_error_response(400, why))
            yield command

    def wait(self, event: Any) -> _Commands:
        yield from super().wait(event)
        if len(self.buf) > MOST_AHEAD:
            self.buf = ReceiveBuffer()
            self.state = self.done
            why = "the client sent more before it had its answer"
            yield ReceiveHttp(
                RequestProtocolError(self.stream_id, why, ErrorCode.CLIENT_DISCONNECTED)
            )
            yield commands.CloseConnection(self.conn)


def _close_connection(
    handler: ConnectionHandler, connection: Connection, half_close: bool = False
) -> None:
    """mitmproxy's own, and the socket is closed also where its task is stopped while it waits for
    its turn: it would stay open with all that was sent."""
    streams = handler.transports.get(connection)
    _closes(handler, connection, half_close)
    if streams and streams.handler and streams.writer and not half_close:
        writer = streams.writer
        streams.handler.add_done_callback(lambda task: writer.close())


_closes = ConnectionHandler.close_connection


def install() -> None:
    """Have all of it in mitmproxy, once."""
    inside: Any = layers
    inside.Http1Client, inside.Http1Server = Upstream, Client
    server: Any = ConnectionHandler
    server.close_connection = _close_connection
