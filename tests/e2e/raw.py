"""Bytes on a socket, where a server or a client that speaks proper HTTP could not be odd enough."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from tests.e2e.answers import chat_text

type Script = Callable[[bytes], Iterable[bytes]]


class RawUpstream:
    """Listens on the loopback; each request gets the pieces that ``script`` makes of it (head and
    body), then the connection is closed; where it ``lingers``, by the other end. ``seen`` are the
    requests."""

    def __init__(self, script: Script, *, lingers: bool = False) -> None:
        self._script, self._lingers = script, lingers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.seen: list[bytes] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if request := _request(client):
                self.seen.append(request)
                for piece in self._script(request):
                    client.sendall(piece)
                if not self._lingers:
                    client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass


def _request(client: socket.socket) -> bytes:
    """A request with a content-length; empty where none comes (a probe)."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := client.recv(65536)):
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields.get(b"content-length", b"0"))
    while len(body) < length:
        body += client.recv(65536)
    return head + b"\r\n\r\n" + body


def talk(port: int, pieces: Iterable[bytes], timeout: float = 20) -> bytes:
    """All that a server says to a client that sends ``pieces``, to the end of the connection; what
    it does not take is not sent. TimeoutError when neither ends."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout) as client:
        sending = threading.Thread(target=_send, args=(client, pieces), daemon=True)
        sending.start()
        with contextlib.suppress(ConnectionError):
            while more := client.recv(65536):
                said += more
    sending.join(timeout)
    return said


def _send(client: socket.socket, pieces: Iterable[bytes]) -> None:
    with contextlib.suppress(OSError):
        for piece in pieces:
            client.sendall(piece)


def post(path: str, body: bytes, fields: str = "", close: bool = True) -> bytes:
    """A POST with a content-length; the server is to close behind its answer."""
    closes = "connection: close\r\n" if close else ""
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{closes}{fields}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def chunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """``pieces`` as chunks, without the last one."""
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)


def split(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, fields and body (its chunks put together) of the one answer in ``answer``."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if fields.get("transfer-encoding") == "chunked":
        body = _joined(body)
    return int(first.split()[1]), fields, body


def _joined(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return b"".join(parts)
        parts.append(body[:length])
        body = body[length + 2 :]
    raise AssertionError("the last chunk is missing")


#: A whole chat answer, and a streamed one in its events.
WHOLE = json.dumps(
    {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hello"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }
).encode()
_ANSWER = {"role": "assistant", "content": [{"type": "text", "text": "hello"}]}
_ITEM = {"type": "output_text", "text": "hello", "annotations": []}
#: The same in each protocol.
WHOLES = {
    "chat": WHOLE,
    "messages": json.dumps(
        {
            "id": "m1",
            "type": "message",
            "model": "m",
            "stop_reason": "end_turn",
            **_ANSWER,
            "usage": {"input_tokens": 7, "output_tokens": 3},
        }
    ).encode(),
    "responses": json.dumps(
        {
            "id": "r1",
            "object": "response",
            "created_at": 1,
            "model": "m",
            "status": "completed",
            "output": [{"type": "message", "id": "i1", "role": "assistant", "content": [_ITEM]}],
            "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10},
        }
    ).encode(),
}
EVENTS = list(chat_text("hello").chunks)

#: A turn of each protocol: the path, and the body.
_SAID = [{"role": "user", "content": "hi"}]
TURNS: dict[str, tuple[str, dict[str, Any]]] = {
    "responses": ("/v1/responses", {"model": "m", "input": "hi"}),
    "chat": ("/v1/chat/completions", {"model": "m", "messages": _SAID}),
    "messages": ("/v1/messages", {"model": "m", "max_tokens": 100, "messages": _SAID}),
}


def turn(protocol: str, *, stream: bool) -> bytes:
    """A POST of that turn, which is like no other: what failed is remembered for its retry."""
    path, body = TURNS[protocol]
    body = {**body, "model": f"m{next(_number)}", "stream": stream}
    return post(path, json.dumps(body).encode(), JSON_FIELD)


_number = itertools.count()
JSON_FIELD = "content-type: application/json\r\n"
