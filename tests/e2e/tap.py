"""A byte-for-byte relay in front of the chain that counts the requests passing through it.

It knows no HTTP beyond the request line, so what it counts does not depend on the code under test.
"""

from __future__ import annotations

import socket
import threading
from typing import Self

_LINE = b"POST /v1/responses HTTP/1.1\r\n"


class Tap:
    """Relays 127.0.0.1:`port` to the chain's `target` port; a context manager.

    `requests` counts the POSTs to /v1/responses; `sent` and `received` are the raw bytes of both
    directions, in order within each connection.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._up: list[bytearray] = []
        self._down: list[bytearray] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()

    @property
    def requests(self) -> int:
        return sum(data.count(_LINE) for data in self._up)

    @property
    def sent(self) -> bytes:
        return b"".join(bytes(data) for data in self._up)

    @property
    def received(self) -> bytes:
        return b"".join(bytes(data) for data in self._down)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            up, down = bytearray(), bytearray()
            self._up.append(up)
            self._down.append(down)
            for source, sink, kept in ((client, server, up), (server, client, down)):
                threading.Thread(target=_pump, args=(source, sink, kept), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    try:
        while data := source.recv(65536):
            kept += data
            sink.sendall(data)
    except OSError:
        pass
    try:
        sink.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    source.close()
