"""An HTTP/2 client that sends what it is told, valid or not, over TLS to the chain."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence
from typing import Self

import h2.config
import h2.connection
import h2.events

from tests.e2e.raw_http import PATIENCE, Got

Fields = Sequence[tuple[str | bytes, str | bytes]]


class H2Client:
    """One connection; a context manager. What HTTP/2 forbids is sent all the same."""

    def __init__(self, port: int) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        raw = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket = context.wrap_socket(raw, server_hostname="localhost")
        assert self._socket.selected_alpn_protocol() == "h2"
        config = h2.config.H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def send(self, fields: Fields, body: bytes = b"", trailers: Fields = ()) -> int:
        """Send a request; the number of its stream."""
        stream = self._h2.get_next_available_stream_id()
        given = [(_bytes(name), _bytes(value)) for name, value in fields]
        self._h2.send_headers(stream, given, end_stream=not (body or trailers))
        for at in range(0, len(body), 16_000):
            last = at + 16_000 >= len(body) and not trailers
            self._h2.send_data(stream, body[at : at + 16_000], end_stream=last)
            self._flush()
        if trailers:
            given = [(_bytes(name), _bytes(value)) for name, value in trailers]
            self._h2.send_headers(stream, given, end_stream=True)
        self._flush()
        return stream

    def receive(self, stream: int) -> Got:
        """The answer on ``stream``; none where it, or the connection, is reset."""
        begun, headers, body = time.monotonic(), {}, b""

        def got(*, whole: bool) -> Got:
            status = int(headers.get(":status", "0"))
            fields = tuple(headers.items())
            return Got(status, headers, fields, body, whole, time.monotonic() - begun)

        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                return got(whole=False)
            if not data:
                return got(whole=False)
            for event in self._h2.receive_data(data):
                if getattr(event, "stream_id", stream) not in (stream, None):
                    continue
                if isinstance(event, h2.events.ResponseReceived):
                    headers = {n.decode(): v.decode("latin-1") for n, v in event.headers or ()}
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data or b""
                    self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                elif isinstance(event, h2.events.StreamEnded):
                    self._flush()
                    return got(whole=True)
                elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    return got(whole=False)
            self._flush()

    def ask(self, fields: Fields, body: bytes = b"", trailers: Fields = ()) -> Got:
        """Send one request and read its answer."""
        try:
            stream = self.send(fields, body, trailers)
        except OSError:
            return Got()
        return self.receive(stream)

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
