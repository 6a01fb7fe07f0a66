"""A server that keeps every byte that comes: a trap, where nothing may come, or a bare target."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from typing import Self

_CAUGHT = b"HTTP/1.1 418 Trapped\r\ncontent-length: 7\r\nconnection: close\r\n\r\ntrapped"
#: Seconds after which what has come counts as all of it.
_QUIET = 0.3
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.I)


class Trap:
    """Listens on a loopback port; a context manager.

    ``requests`` are the bytes of each connection that has sent any, ``connections`` counts all.
    ``answer`` goes to whoever has sent a request, or has sent something and then been quiet.
    """

    def __init__(self, answer: bytes | Callable[[bytes], bytes] = _CAUGHT) -> None:
        self._answer = answer if callable(answer) else lambda _: answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        self._caught: list[bytearray] = []
        self.connections = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()

    @property
    def requests(self) -> list[bytes]:
        with self._lock:
            return [bytes(data) for data in self._caught]

    @property
    def bytes(self) -> bytes:
        return b"".join(self.requests)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._keep, args=(client,), daemon=True).start()

    def _keep(self, client: socket.socket) -> None:
        caught = bytearray()
        with client:
            try:
                while not _is_whole(caught):
                    client.settimeout(_QUIET if caught else None)
                    data = client.recv(65536)
                    if not data:
                        return
                    if not caught:
                        with self._lock:
                            self._caught.append(caught)
                    caught += data
            except TimeoutError:
                pass
            except OSError:
                return
            try:
                client.sendall(self._answer(bytes(caught)))
                # What comes behind an answer that closes would be a leak, too.
                client.settimeout(_QUIET)
                while data := client.recv(65536):
                    caught += data
            except OSError:
                return


def _is_whole(data: bytes | bytearray) -> bool:
    head, end, body = bytes(data).partition(b"\r\n\r\n")
    length = _LENGTH.search(head + b"\r\n")
    return bool(end) and length is not None and len(body) >= int(length[1])
