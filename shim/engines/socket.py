"""Responses over WebSocket: each ``response.create`` becomes a POST through the chain.

The events of the answer go out as JSON messages. A turn that is not stored is remembered until the
next one of its connection, which may continue it. Source: codex-wire.md section 8, OpenAI's guide
on the WebSocket mode.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Any

import httpx
import msgspec
from starlette.websockets import WebSocket

from ..json_text import load
from ..shown import short
from ..state.expand import inner
from ..turn import WireError
from ..wire.fields import top_level
from ..wire.sse import SSEDecoder
from .server import TICKET, Sockets

#: Turns that may wait while one is under way.
_MOST_WAITING = 32
#: What belongs to the connection, not to the turns on it.
_NOT_FORWARDED = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "upgrade",
        TICKET,
    }
)
#: The close code for a policy that is violated (RFC 6455, section 7.4.1), and why.
_KEY_GONE = (1008, "the client key is not valid any more")
_ENDS = ("response.completed", "response.incomplete", "response.failed", "error")


class _Response(msgspec.Struct):
    id: str
    status: str | None = None
    output: msgspec.Raw = msgspec.Raw(b"[]")


class _Event(msgspec.Struct):
    type: str
    response: _Response | None = None


_event = msgspec.json.Decoder(_Event)


class Last(msgspec.Struct, frozen=True):
    """The latest response of a connection, where nobody else stores it: its whole conversation.

    ``base`` is the stored response that ``items`` (JSON) continue, if there is one.
    """

    id: str
    base: str | None
    items: list[bytes]


async def serve(socket: WebSocket, sockets: Sockets) -> None:
    """Serve one connection until the client closes it, or its client key is taken back."""
    coming = sockets.arrived(socket.headers.get(TICKET, ""))
    if coming is None:
        await socket.close()
        return
    headers = {k: v for k, v in socket.headers.items() if k not in _NOT_FORWARDED}
    headers = {k: v for k, v in headers.items() if not k.startswith("sec-websocket-")}
    headers |= {"accept": "text/event-stream", "content-type": "application/json"}
    headers |= coming.credentials
    timeout = httpx.Timeout(30, read=None)
    # Straight to the chain: the way out that others need is not for this machine.
    with sockets.held(coming.owner) as ends:
        async with httpx.AsyncClient(timeout=timeout, trust_env=False) as client:
            connection = Connection(socket, client, coming.back, headers)
            await socket.accept()
            worker = asyncio.create_task(connection.work())
            ending = asyncio.create_task(_close_when(ends, socket))
            try:
                await connection.read()
            finally:
                ending.cancel()
                worker.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await worker


async def _close_when(ends: asyncio.Event, socket: WebSocket) -> None:
    await ends.wait()
    await socket.close(*_KEY_GONE)


class Connection:
    """One WebSocket: turns come in while one is under way, and are answered in order."""

    def __init__(
        self, socket: WebSocket, client: httpx.AsyncClient, url: str, headers: dict[str, str]
    ) -> None:
        self._socket = socket
        self._client = client
        self._url = url
        self._headers = headers
        self._turns: asyncio.Queue[bytes] = asyncio.Queue()
        self._last: Last | None = None

    async def read(self) -> None:
        """Take messages until the client has gone."""
        while (message := await self._socket.receive())["type"] == "websocket.receive":
            if self._turns.qsize() >= _MOST_WAITING:
                await self._error(429, "too many turns are waiting on this connection")
                continue
            text = message.get("text")
            self._turns.put_nowait(message["bytes"] if text is None else text.encode())

    async def work(self) -> None:
        """Answer the turns one after the other."""
        while True:
            message = await self._turns.get()
            try:
                await self._turn(message)
            except WireError as e:
                await self._error(e.status, str(e), param=e.param)
            except httpx.HTTPError as e:
                why = f"the chain does not answer: {e!r}"
                await self._error(502, why, kind="server_error")

    async def _turn(self, message: bytes) -> None:
        fields = top_level(message)
        kind = _value(fields, "type")
        if kind != "response.create":
            raise WireError(
                f"messages of type {kind!r} are not served; use response.create", param="type"
            )
        own = inner(fields.get("input", msgspec.Raw(b"[]")))
        base = _value(fields, "previous_response_id")
        items = [own]
        if self._last and base == self._last.id:
            base, items = self._last.base, [*self._last.items, own]
        if _value(fields, "generate") is False:
            await self._warm_up(base, items, _value(dict(fields), "model"))
            return
        fields["input"] = msgspec.Raw(b"[%b]" % b",".join([i for i in items if i]))
        fields["stream"] = msgspec.Raw(b"true")
        if base is not None:
            fields["previous_response_id"] = msgspec.Raw(msgspec.json.encode(base))
        done = await self._post(msgspec.json.encode(fields))
        if done and done.status in ("completed", "incomplete"):
            # A stored one is remembered by who stores it.
            stored = _value(dict(fields), "store") is not False
            whole = [*items, inner(done.output)]
            self._last = None if stored else Last(done.id, base, whole)

    async def _post(self, body: bytes) -> _Response | None:
        """Send one turn through the chain and its events to the client; the response at its end."""
        stream = self._client.stream("POST", self._url, content=body, headers=self._headers)
        async with stream as answer:
            if answer.status_code != 200:
                await self._refused(answer.status_code, await answer.aread())
                return None
            events = SSEDecoder()
            done: _Response | None = None
            ended = False
            async for piece in answer.aiter_bytes():
                for name, data in events.feed(piece):
                    if name is None or data == b"[DONE]":
                        continue
                    await self._socket.send_text(data.decode("utf-8", "replace"))
                    if name in _ENDS or (not name and b"response." in data):
                        event = _read(data)
                        if event and event.type in _ENDS:
                            ended, done = True, event.response
            if not ended:
                await self._error(502, "the answer ended too early", kind="server_error")
            return done

    async def _warm_up(self, base: str | None, items: list[bytes], model: Any) -> None:
        """Answer a turn that is only to be prepared, without asking a model."""
        id = f"resp_{secrets.token_hex(12)}"
        usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        response = {"id": id, "object": "response", "model": model, "output": [], "created_at": 0}
        for number, status in enumerate(("in_progress", "completed")):
            kind = "response.completed" if number else "response.created"
            said = {**response, "status": status, "usage": usage if number else None}
            event = {"type": kind, "sequence_number": number, "response": said}
            await self._socket.send_text(msgspec.json.encode(event).decode())
        self._last = Last(id, base, items)

    async def _refused(self, status: int, body: bytes) -> None:
        try:
            error = msgspec.json.decode(body)["error"]
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
            await self._error(status, short(body.decode("utf-8", "replace"), 1000))
            return
        await self._send_error(status, error)

    async def _error(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
    ) -> None:
        error = {"message": message, "type": kind, "code": None, "param": param}
        await self._send_error(status, error)

    async def _send_error(self, status: int, error: Any) -> None:
        event = {"type": "error", "status": status, "error": error}
        await self._socket.send_text(msgspec.json.encode(event).decode())


def _value(fields: dict[str, msgspec.Raw], name: str) -> Any:
    """The value of a field, which is taken out; None where there is none."""
    raw = fields.pop(name, None)
    return None if raw is None else load(raw, name)


def _read(data: bytes) -> _Event | None:
    try:
        return _event.decode(data)
    except msgspec.DecodeError:
        return None
