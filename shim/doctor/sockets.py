"""What listens on this machine, and what it says to ``GET /health``; never through a proxy."""

from __future__ import annotations

import re
import socket
import time

from ..daemon.own_key import bearer
from .network import Answer

_PATIENCE = 0.5
#: Seconds for a whole answer, however slowly it drips.
_ANSWER = 1.0
_LARGEST = 256 << 10
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d{1,9})\r\n", re.I)


def listens(host: str, port: int) -> bool:
    """Whether something takes connections there."""
    try:
        socket.create_connection((host, port), _PATIENCE).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def health(port: int, key: str = "") -> Answer:
    """What the port of loopback answers to who has that client ``key``."""
    try:
        connection = socket.create_connection(("127.0.0.1", port), _PATIENCE)
    except (OSError, ValueError, OverflowError):
        return Answer(port, False)
    with connection:
        try:
            shows = "".join(f"{name}: {value}\r\n" for name, value in bearer(key).items())
            asks = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{shows}"
            connection.sendall(f"{asks}Connection: close\r\n\r\n".encode())
            head, _, body = _read(connection).partition(b"\r\n\r\n")
        except OSError:
            return Answer(port, True)
    return Answer(port, True, body if b" 200 " in head.partition(b"\r\n")[0] + b" " else b"")


def _read(connection: socket.socket) -> bytes:
    deadline = time.monotonic() + _ANSWER
    got = bytearray()
    while len(got) < _LARGEST and (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        piece = connection.recv(65536)
        if not piece:
            break
        got += piece
        head, mark, body = bytes(got).partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n") if mark else None
        if length and len(body) >= int(length[1]):
            break
    return bytes(got)
