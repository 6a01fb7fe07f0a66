"""A provider that answers with any bytes: the model that is asked names the answer."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

_MODEL = re.compile(rb'"model": ?"([^"]*)"')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.I)
#: Seconds between two pieces of an answer, so that they come as two.
_PAUSE = 0.01


@dataclass(frozen=True)
class Script:
    """``pieces`` are sent one by one, or made as they are; then the connection stays open, ends, or
    is reset."""

    pieces: Sequence[bytes] | Callable[[], Iterator[bytes]]
    then: Literal["stay", "end", "reset"] = "stay"


class OddUpstream:
    """A raw TCP server on the loopback; a context manager. ``asked`` counts by model."""

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self._scripts = scripts
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        self.asked: dict[str, int] = {}

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        rest = b""
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                while True:
                    while (request := _request(rest)) is None:
                        data = client.recv(65536)
                        if not data:
                            return
                        rest += data
                    rest = rest[len(request) :]
                    if not self._answer(client, request):
                        return
            except OSError:
                return

    def _answer(self, client: socket.socket, request: bytes) -> bool:
        """Answer one request; whether the connection stays."""
        found = _MODEL.search(request)
        name = found[1].decode() if found else ""
        with self._lock:
            self.asked[name] = self.asked.get(name, 0) + 1
        script = self._scripts[name]
        made = script.pieces() if callable(script.pieces) else script.pieces
        for number, piece in enumerate(made):
            if number:
                time.sleep(_PAUSE)
            client.sendall(piece)
        if script.then == "reset":
            linger = struct.pack("ii", 1, 0)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return script.then == "stay"


def _request(data: bytes) -> bytes | None:
    """The first request of ``data`` once it is whole."""
    head, end, body = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head + b"\r\n")
    size = int(length[1]) if length else 0
    if not end or len(body) < size:
        return None
    return head + end + body[:size]
