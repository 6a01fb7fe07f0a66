"""A stand-in for OpenCode Go: its list, its two endpoints, its errors, as they are documented."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "oc-" + "0123456789abcdef0123456789abcdef"
CHAT = b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\n\n'
START = b'event: message_start\ndata: {"type": "message_start", "message": {"id": "m"}}\n\n'

#: (status, body, headers) of an answer.
Answer = tuple[int, bytes, dict[str, str]]


def wrong(status: int, kind: str, message: str, **headers: str) -> Answer:
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return status, json.dumps(body).encode(), {k.replace("_", "-"): v for k, v in headers.items()}


def not_here(model: str, form: str) -> Answer:
    return wrong(401, "ModelError", f"Model {model} is not supported for format {form}")


class StandIn(ThreadingHTTPServer):
    """``models`` maps an id to its endpoints' answers; True is a good one. An answer may be a list:
    the first is given first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models: dict[str, dict[str, Any]] = {}
        self.list_answers: list[Answer] = []
        self.seen: list[tuple[str, str, dict[str, Any]]] = []
        self.sessions: set[str | None] = set()
        self.lock = threading.Lock()
        self.under_way = self.most = 0
        self.hold = threading.Event()
        self.hold.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/zen/go/v1"

    def listed(self) -> Answer:
        with self.lock:
            if self.list_answers:
                return self.list_answers.pop(0)
        rows = [{"id": id, "object": "model", "owned_by": "opencode"} for id in self.models]
        return 200, json.dumps({"object": "list", "data": rows}).encode(), {}

    def turn(self, path: str, head: Any, body: dict[str, Any]) -> Answer:
        protocol = "messages" if path.endswith("/messages") else "chat"
        model = body["model"]
        with self.lock:
            self.seen.append((model, protocol, body))
            self.sessions.add(head["x-opencode-session"])
        if not head["x-opencode-session"]:
            return wrong(400, "MissingSessionID", "Request is missing x-opencode-session")
        key = head["x-api-key"] if protocol == "messages" else head["authorization"]
        if key != (KEY if protocol == "messages" else f"Bearer {KEY}"):
            return wrong(401, "AuthError", f"Invalid API key {key}.")
        answer = self.models[model].get(protocol)
        if isinstance(answer, list):
            with self.lock:
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if answer is True:
            return 200, START if protocol == "messages" else CHAT, {}
        if answer is None:
            return not_here(model, "anthropic" if protocol == "messages" else "oa-compat")
        found: Answer = answer
        return found


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        self._answer(self.server.listed() if self.path == "/zen/go/v1/models" else (404, b"", {}))

    def do_POST(self) -> None:
        server = self.server
        with server.lock:
            server.under_way += 1
            server.most = max(server.most, server.under_way)
        server.hold.wait(10)
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = server.turn(self.path, self.headers, body)
        with server.lock:
            server.under_way -= 1
        self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        status, body, headers = answer
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "content-length" not in headers:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """One on a free port of the loopback."""
    with StandIn() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.hold.set()
            server.shutdown()
            thread.join()
