"""The model that is asked: runs the scripts, speaks all three protocols, and bills.

One server for all sessions; a session is told by the mark in its task, so that whatever stands
between client and model needs to pass on nothing but the prompt.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from benchmarks.tokens.agent import Broken, Call, Script
from benchmarks.tokens.biller import Bill, Biller, Tokens, TooManyMarks
from benchmarks.tokens.follow import follow
from benchmarks.tokens.prompts import Seen, read

#: Seconds that a turn takes in the bill's own time.
PACE = 15.0
_MARK = re.compile(rb"\(session ([\w./-]+)\)")
_SSE = {"content-type": "text/event-stream"}


@dataclass
class Session:
    """One task over one route. ``bills`` has one entry per turn, ``broken`` says why it failed."""

    script: Script
    biller: Biller
    bills: list[Bill] = field(default_factory=list)
    output: int = 0
    calls: int = 0
    requests: int = 0
    broken: str = ""
    done: bool = False
    said: tuple[bytes, list[Call] | str, Bill] | None = None
    waits: int = 0

    def turn(self, seen: Seen, key: bytes, bill: Bill) -> list[Call] | str:
        """The calls of the next turn, or the last words."""
        try:
            if self.waits:
                said = [follow(text, seen) for text in seen.outputs[-self.waits :]]
                if len(said) != self.waits:
                    raise Broken(f"{self.waits} outputs were due, {len(said)} are there")
                calls = self.script.send(said)
            else:
                calls = next(self.script)
        except StopIteration as end:
            self.done = True
            return str(end.value)
        except Broken as e:
            self.broken = str(e)
            return f"I give up: {e}"
        self.waits = len(calls)
        self.calls += len(calls)
        return calls


class Model:
    """A threaded server on the loopback; a context manager. Messages are billed by breakpoints,
    everything else by automatic caching. ``spoil`` changes a request before it is read."""

    def __init__(self, tokens: Tokens, spoil: Callable[[bytes], bytes] = lambda body: body) -> None:
        self.sessions: dict[str, Session] = {}
        self._spoil = spoil
        self._tokens = tokens
        self._lock = threading.Lock()
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                page = {"object": "list", "data": [{"id": "m", "object": "model"}]}
                _whole(self, 200, page)

            def do_POST(self) -> None:
                model._post(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def begin(self, name: str, script: Script) -> Session:
        """A new session; its task must hold ``(session NAME)``."""
        made = self.sessions[name] = Session(script, Biller(self._tokens))
        return made

    def _post(self, handler: BaseHTTPRequestHandler) -> None:
        raw = self._spoil(_body(handler))
        path = handler.path.partition("?")[0]
        mark = _MARK.search(raw)
        session = self.sessions.get(mark[1].decode()) if mark else None
        if session is None:
            _whole(handler, 404, {"error": {"message": "no such session", "type": "not_found"}})
            return
        with self._lock:
            try:
                said, bill = self._answer(session, path, raw)
            except TooManyMarks as e:
                session.broken = str(e)
                _whole(handler, 400, {"type": "error", "error": {"message": str(e)}})
                return
        stream = bool(json.loads(raw).get("stream"))
        names = read(path, json.loads(raw)).tools
        events = _EVENTS[path.rpartition("/")[2]](said, bill, names, len(session.bills))
        _stream(handler, events, stream)

    def _answer(self, session: Session, path: str, raw: bytes) -> tuple[list[Call] | str, Bill]:
        session.requests += 1
        key = hashlib.blake2b(raw).digest()
        if session.said and session.said[0] == key:
            # Sent again by the client or a gateway: the same answer, billed again.
            said, bill = session.said[1:]
            session.bills.append(bill)
            return said, bill
        seen = read(path, json.loads(raw))
        now = PACE * session.requests
        cache = session.biller
        bill = (cache.marked if path.endswith("/messages") else cache.automatic)(seen.blocks, now)
        session.bills.append(bill)
        said = session.turn(seen, key, bill)
        written = said if isinstance(said, str) else "".join(c.arguments for c in said)
        session.output += self._tokens(written.encode())
        session.said = (key, said, bill)
        return said, bill


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in handler.headers.get("transfer-encoding", ""):
        return handler.rfile.read(int(handler.headers.get("content-length", 0)))
    found = b""
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        found += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return found


def _whole(handler: BaseHTTPRequestHandler, status: int, value: Any) -> None:
    body = json.dumps(value).encode()
    handler.send_response(status)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _stream(handler: BaseHTTPRequestHandler, events: Iterator[Any], stream: bool) -> None:
    if not stream:
        _whole(handler, 400, {"error": {"message": "only streams are served here"}})
        return
    handler.send_response(200)
    handler.send_header("content-type", "text/event-stream")
    handler.send_header("connection", "close")
    handler.end_headers()
    for event in events:
        text = event if isinstance(event, str) else json.dumps(event)
        kind = f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
        handler.wfile.write(f"{kind}data: {text}\n\n".encode())
    handler.close_connection = True


def _function(call: Call, tools: dict[str, Any]) -> tuple[str, str]:
    """Name and arguments of a call where only functions are known."""
    if call.name != "apply_patch":
        return call.name, call.arguments
    if tool := tools.get(call.name):
        inner = tool.get("function") or tool
        schema = inner.get("parameters") or inner.get("input_schema") or {}
        field = next(iter(schema.get("properties") or {}), "input")
        return call.name, json.dumps({field: call.given})
    # Codex takes a patch out of a command as well.
    return "exec_command", json.dumps({"cmd": f"apply_patch <<'EOF'\n{call.given}EOF\n"})


def _chat(said: list[Call] | str, bill: Bill, tools: dict[str, Any], n: int) -> Iterator[Any]:
    head = {"id": f"chatcmpl-{n}", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}

    yield chunk({"role": "assistant", "content": said if isinstance(said, str) else None})
    for k, call in enumerate(said if isinstance(said, list) else ()):
        name, given = _function(call, tools)
        function = {"name": name, "arguments": given}
        made = {"index": k, "id": f"call_{n}_{k}", "type": "function", "function": function}
        yield chunk({"tool_calls": [made]})
    used = {"prompt_tokens": bill.total, "completion_tokens": 10, "total_tokens": bill.total + 10}
    used["prompt_tokens_details"] = {"cached_tokens": bill.read}  # type: ignore[assignment]
    yield chunk({}, "stop" if isinstance(said, str) else "tool_calls")
    yield {**head, "choices": [], "usage": used}
    yield "[DONE]"


def _messages(said: list[Call] | str, bill: Bill, tools: dict[str, Any], n: int) -> Iterator[Any]:
    used = {
        "input_tokens": bill.plain,
        "cache_read_input_tokens": bill.read,
        "cache_creation_input_tokens": sum(bill.written.values()),
        "output_tokens": 1,
    }
    message = {"id": f"msg_{n}", "type": "message", "role": "assistant", "model": "m"}
    message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": used}  # type: ignore[dict-item]
    yield {"type": "message_start", "message": message}
    blocks: list[tuple[dict[str, Any], dict[str, Any]]] = []
    if isinstance(said, str):
        blocks.append(({"type": "text", "text": ""}, {"type": "text_delta", "text": said}))
    else:
        for k, call in enumerate(said):
            name, given = _function(call, tools)
            begun = {"type": "tool_use", "id": f"toolu_{n}_{k}", "name": name, "input": {}}
            blocks.append((begun, {"type": "input_json_delta", "partial_json": given}))
    for k, (begun, delta) in enumerate(blocks):
        yield {"type": "content_block_start", "index": k, "content_block": begun}
        yield {"type": "content_block_delta", "index": k, "delta": delta}
        yield {"type": "content_block_stop", "index": k}
    reason = "end_turn" if isinstance(said, str) else "tool_use"
    ended = {"stop_reason": reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 10}}
    yield {"type": "message_stop"}


def _responses(said: list[Call] | str, bill: Bill, tools: dict[str, Any], n: int) -> Iterator[Any]:
    items: list[dict[str, Any]] = []
    if isinstance(said, str):
        part = {"type": "output_text", "text": said, "annotations": []}
        items.append({"type": "message", "id": f"msg_{n}", "role": "assistant", "content": [part]})
    else:
        for k, call in enumerate(said):
            base = {"call_id": f"call_{n}_{k}", "name": call.name, "status": "completed"}
            if call.name == "apply_patch":
                base |= {"type": "custom_tool_call", "id": f"ctc_{n}_{k}", "input": call.given}
            else:
                base |= {"type": "function_call", "id": f"fc_{n}_{k}", "arguments": call.arguments}
            items.append(base)
    yield {"type": "response.created", "response": {"id": f"resp_{n}", "status": "in_progress"}}
    for k, item in enumerate(items):
        yield {"type": "response.output_item.added", "output_index": k, "item": item}
        yield {"type": "response.output_item.done", "output_index": k, "item": item}
    used = {"input_tokens": bill.total, "output_tokens": 10, "total_tokens": bill.total + 10}
    used["input_tokens_details"] = {"cached_tokens": bill.read}  # type: ignore[assignment]
    used["output_tokens_details"] = {"reasoning_tokens": 0}  # type: ignore[assignment]
    response = {"id": f"resp_{n}", "status": "completed", "output": items, "usage": used}
    yield {"type": "response.completed", "response": response}


_EVENTS = {"completions": _chat, "messages": _messages, "responses": _responses}
