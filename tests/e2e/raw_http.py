"""A client that sends any bytes as a request, and reads the answer as far as it can be read."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

#: Seconds after which an answer counts as hanging.
PATIENCE = 10.0


@dataclass(frozen=True)
class Got:
    """One answer. ``status`` is 0 where none came; ``whole``: its body ended as its head says."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    whole: bool = False
    seconds: float = 0.0

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def is_html(self) -> bool:
        """Whether it is an answer of mitmproxy's own."""
        return "html" in self.headers.get("content-type", "")


class Wire:
    """One connection to the chain; a context manager."""

    def __init__(self, port: int, patience: float = PATIENCE) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), patience)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, data: bytes, method: str = "POST") -> Got:
        """Send ``data``, read one answer."""
        begun = time.monotonic()
        try:
            self.send(data)
        except OSError:
            pass
        return self.receive(method, begun)

    def receive(self, method: str = "POST", begun: float | None = None) -> Got:
        """The next final answer on this connection; 100 Continue is passed over."""
        begun = time.monotonic() if begun is None else begun
        while True:
            head = self._until(b"\r\n\r\n")
            if head is None:
                return Got(seconds=time.monotonic() - begun)
            lines = head.decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
            if status != 100:
                break
        fields = tuple((n.lower(), v.strip()) for n, _, v in (x.partition(":") for x in lines[1:]))
        headers = dict(fields)
        body, whole = self._body(status, headers, method)
        return Got(status, headers, fields, body, whole, time.monotonic() - begun)

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except OSError:
            return False
        self._rest += data
        return bool(data)

    def _until(self, mark: bytes) -> bytes | None:
        while mark not in self._rest:
            if not self._more():
                return None
        head, _, self._rest = self._rest.partition(mark)
        return head

    def _exactly(self, size: int) -> tuple[bytes, bool]:
        while len(self._rest) < size and self._more():
            pass
        body, self._rest = self._rest[:size], self._rest[size:]
        return body, len(body) == size

    def _body(self, status: int, headers: Mapping[str, str], method: str) -> tuple[bytes, bool]:
        if method == "HEAD" or status in (204, 304) or status < 200:
            return b"", True
        if "chunked" in headers.get("transfer-encoding", ""):
            return self._chunked()
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"]))
        while self._more():
            pass
        body, self._rest = self._rest, b""
        return body, True

    def _chunked(self) -> tuple[bytes, bool]:
        parts = []
        while (line := self._until(b"\r\n")) is not None:
            size = int(line.split(b";")[0], 16)
            data, whole = self._exactly(size + 2)
            parts.append(data[:-2] if whole else data)
            if not size or not whole:
                return b"".join(parts), whole
        return b"".join(parts), False


def ask(port: int, data: bytes, method: str = "POST", patience: float = PATIENCE) -> Got:
    """One request on a connection of its own."""
    with Wire(port, patience) as wire:
        return wire.ask(data, method)


def request(
    path: str | bytes,
    body: bytes = b"",
    headers: Iterable[tuple[str | bytes, str | bytes]] = (),
    *,
    method: str | bytes = "POST",
    version: str = "HTTP/1.1",
    host: str | bytes | None = "127.0.0.1",
    sized: bool = True,
) -> bytes:
    """The bytes of a request, as wrong as they are wanted; ``sized``: with its content-length."""
    fields = [(b"host", host)] if host is not None else []
    fields += [(_bytes(n), v) for n, v in headers]
    if sized:
        fields.append((b"content-length", str(len(body))))
    line = b" ".join((_bytes(method), _bytes(path), version.encode()))
    head = [line, *(b"%b: %b" % (_bytes(n), _bytes(v)) for n, v in fields)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def chunked(body: bytes, *, size: int = 0, end: bytes = b"0\r\n\r\n") -> bytes:
    """``body`` in chunks of ``size`` bytes, or one."""
    size = size or len(body) or 1
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + end


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
