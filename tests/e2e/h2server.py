"""A stand-in for a provider as it is on the internet: TLS, HTTP/2 by ALPN, its own host names.

Answers are `Answer`s, as those of `Upstream`; clients that speak no HTTP/2 get HTTP/1.1's 505.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Sequence
from email.message import Message
from typing import Self

import h2.config
import h2.connection
import h2.events

from tests.e2e.upstreams import Script, Seen


class H2Server:
    """Listens on the loopback with ``tls``, whose context offers h2; a context manager. Each answer
    ends with ``trailers``."""

    def __init__(
        self, script: Script, tls: ssl.SSLContext, trailers: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._script, self._tls, self._trailers = script, tls, list(trailers)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.seen: list[Seen] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()

    def posts(self, path: str = "") -> list[Seen]:
        """The POSTs to ``path``, or all."""
        with self._lock:
            return [s for s in self.seen if s.method == "POST" and (not path or s.path == path)]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            with self._tls.wrap_socket(raw, True) as client:
                if client.selected_alpn_protocol() != "h2":
                    client.sendall(b"HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n")
                    return
                self._speak(client)
        except OSError:
            pass

    def _speak(self, client: ssl.SSLSocket) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        connection = h2.connection.H2Connection(config)
        connection.initiate_connection()
        client.sendall(connection.data_to_send())
        heads: dict[int, list[tuple[str, str]]] = {}
        bodies: dict[int, bytes] = {}
        while data := client.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    heads[event.stream_id], bodies[event.stream_id] = list(event.headers), b""
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    connection.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                elif isinstance(event, h2.events.StreamEnded):
                    at = event.stream_id
                    self._answer(connection, at, heads.pop(at), bodies.pop(at))
            client.sendall(connection.data_to_send())

    def _answer(
        self,
        connection: h2.connection.H2Connection,
        stream: int,
        head: list[tuple[str, str]],
        body: bytes,
    ) -> None:
        told = dict(head)
        headers = Message()
        headers["host"] = told[":authority"]
        for name, value in head:
            if not name.startswith(":"):
                headers[name] = value
        with self._lock:
            seen = Seen(len(self.seen) + 1, told[":method"], told[":path"], headers, body)
            self.seen.append(seen)
        answer = self._script(seen)
        fields = [(name.lower(), value) for name, value in answer.headers.items()]
        connection.send_headers(stream, [(":status", str(answer.status)), *fields])
        # Short answers: the window that every client opens with is enough.
        for chunk in answer.chunks:
            connection.send_data(stream, chunk)
        if self._trailers:
            connection.send_headers(stream, self._trailers, end_stream=True)
        else:
            connection.end_stream(stream)
