"""Scripted upstreams on the loopback: each request gets the next answer of a list or a function.

An `Upstream` counts what it was asked and keeps it (`seen`), so a test can compare what the client
sent with what the provider got. What the answers say is built in `answers.py`.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Self


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `chunks` are sent one by one (chunked); one alone is a plain body. `live`
    makes them as they are sent, and anew for each answer. `cut` resets the connection before the
    head ("head") or after the last chunk, without the closing one ("body")."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Sequence[bytes] = ()
    cut: Literal["", "head", "body"] = ""
    live: Callable[[], Iterator[bytes]] | None = None


@dataclass(frozen=True)
class Seen:
    """One request as it arrived; `number` counts from 1 over the upstream's life."""

    number: int
    method: str
    path: str
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Script = Callable[[Seen], Answer]


class Upstream:
    """A threaded HTTP/1.1 server on 127.0.0.1; a context manager.

    `script` is a function of the request, or a list of answers whose last one repeats.
    """

    def __init__(
        self, script: Script | Sequence[Answer], tls: ssl.SSLContext | None = None
    ) -> None:
        self._script = script if callable(script) else in_order(script)
        self._lock = threading.Lock()
        self._last: int | None = None
        self.seen: list[Seen] = []
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                upstream._answer(self)

            do_GET = do_POST

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that goes away is the client's business

            def get_request(self) -> tuple[socket.socket, Any]:
                sock, address = super().get_request()
                if tls is None:
                    return sock, address
                # The handshake happens at the first read, in the handler's thread.
                return tls.wrap_socket(sock, True, do_handshake_on_connect=False), address

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        serve = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        serve.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def stop_listening_after(self, answers: int) -> None:
        """Refuse new connections once that many requests have come."""
        self._last = answers

    def posts(self, marker: str = "") -> list[Seen]:
        """The POST requests whose body holds `marker`."""
        wanted = marker.encode()
        with self._lock:
            return [seen for seen in self.seen if seen.method == "POST" and wanted in seen.body]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        if "chunked" in handler.headers.get("transfer-encoding", ""):
            body = _read_chunked(handler)
        with self._lock:
            seen = Seen(
                len(self.seen) + 1, handler.command, handler.path, handler.headers, body
            )
            self.seen.append(seen)
        if seen.number == self._last:
            self._server.socket.close()
        answer = self._script(seen)
        if answer.cut == "head":
            return _reset(handler)
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        whole = not answer.cut and not answer.live and len(answer.chunks) < 2
        if whole:
            data = b"".join(answer.chunks)
            handler.send_header("content-length", str(len(data)))
        else:
            handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        if whole:
            handler.wfile.write(data)
            return None
        for chunk in answer.live() if answer.live else answer.chunks:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if answer.cut == "body":
            return _reset(handler)
        handler.wfile.write(b"0\r\n\r\n")
        return None


def in_order(answers: Sequence[Answer]) -> Script:
    """A script giving `answers` one after the other to POSTs; the last one repeats."""
    left = list(answers)
    lock = threading.Lock()

    def script(seen: Seen) -> Answer:
        if seen.method != "POST":
            return Answer(404, {"content-type": "application/json"}, [b'{"error":{}}'])
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return script


def _read_chunked(handler: BaseHTTPRequestHandler) -> bytes:
    parts = []
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        parts.append(handler.rfile.read(size))
        handler.rfile.readline()
    handler.rfile.readline()
    return b"".join(parts)


def _reset(handler: BaseHTTPRequestHandler) -> None:
    """Close with a RST instead of a FIN: linger 0, and no file object left on the socket."""
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.rfile.close()
    handler.connection.close()


def bad_certificate(folder: Path) -> ssl.SSLContext:
    """A server context whose certificate nobody has signed but itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(loopback, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "self-signed.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + cert.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def closed_port() -> int:
    """A loopback port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
