"""What the engine server answers: an endpoint per engine, and WebSockets, behind a guard.

Imports Starlette, so it is itself imported only when an engine server starts.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterator
from contextlib import closing

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from ..turn import WireError
from ..wire.protocols import codec
from . import demo
from .agents.process import AgentError
from .agents.serve import Agents
from .server import Sockets
from .socket import serve

_MAX_BODY = 64 * 1024 * 1024


def engine_app(
    hosts: set[str],
    secret: str,
    pace: float,
    agents: Agents | None = None,
    sockets: Sockets | None = None,
) -> ASGIApp:
    """The ASGI application; ``hosts`` are the values of Host it answers to, ``pace`` the seconds
    between two streamed chunks of the demo model. ``sockets`` are told of each WebSocket."""
    open_sockets = sockets or Sockets()

    async def complete(request: Request) -> Response:
        return await _complete(request, pace)

    async def agent(request: Request) -> Response:
        if agents is None:
            return await _not_found(request, Exception())
        return await _agent(agents, request)

    async def responses(socket: WebSocket) -> None:
        await serve(socket, open_sockets)

    app = Starlette(
        routes=[
            Route("/demo/v1/chat/completions", complete, methods=["POST"]),
            Route("/demo/v1/models", _models, methods=["GET"]),
            Route("/agents/{name}/v1/chat/completions", agent, methods=["POST"]),
            WebSocketRoute("/responses", responses),
        ],
        exception_handlers={404: _not_found, 405: _not_found},
    )
    return _Guard(app, hosts, secret)


async def _body(request: Request) -> bytes:
    """The request's body. BadRequest when it is too large, or the client left."""
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > _MAX_BODY:
                raise demo.BadRequest(f"the body is over {_MAX_BODY} bytes")
    except ClientDisconnect:
        raise demo.BadRequest("the client left") from None
    return bytes(body)


async def _agent(agents: Agents, request: Request) -> Response:
    try:
        turn = await asyncio.to_thread(codec("chat").read_request, await _body(request))
        return await agents.complete(request.path_params["name"], request, turn)
    except (WireError, demo.BadRequest) as error:
        return _refusal(400, str(error))
    except RecursionError:
        return _refusal(400, "the body is nested too deeply")
    except AgentError as error:
        kind = "invalid_request_error" if error.status < 500 else "server_error"
        return _refusal(error.status, str(error), kind, error.code)


async def _complete(request: Request, pace: float) -> Response:
    try:
        asked = msgspec.json.decode(await _body(request))
        # A long history takes a while to read: not on the event loop of the proxy.
        completion = await asyncio.to_thread(demo.respond, asked)
    except msgspec.DecodeError as error:
        return _refusal(400, f"the body is no JSON: {error}")
    except demo.BadRequest as error:
        return _refusal(400, str(error))
    except Exception as error:  # A bug in the engine, told to the one who asked.
        why = f"the demo model failed: {type(error).__name__}: {error}"
        return _refusal(500, why, "server_error")
    if asked.get("stream"):
        return _Chunks(completion.chunks(), pace)
    return JSONResponse(completion.json())


async def _models(request: Request) -> Response:
    model = {"id": demo.NAME, "object": "model", "created": 0, "owned_by": "interpose"}
    return JSONResponse({"object": "list", "data": [model]})


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return _refusal(status, f"{request.method} {request.url.path} is not served here")


class _Chunks(StreamingResponse):
    """One write per chunk; a client that leaves ends the generator at once."""

    def __init__(self, chunks: Iterator[bytes], pace: float) -> None:
        super().__init__((), media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._chunks = chunks
        self._pace = pace

    async def stream_response(self, send: Send) -> None:
        with closing(self._chunks):  # type: ignore[type-var]
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await asyncio.sleep(self._pace)  # Other streams get their turn, even at 0.
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Guard:
    """Lets only requests pass that name this listener as Host and know the secret."""

    def __init__(self, app: ASGIApp, hosts: set[str], secret: str) -> None:
        self._app = app
        self._hosts = {host.encode() for host in hosts}
        self._expected = f"Bearer {secret}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        answer: ASGIApp = self._app
        if headers.get(b"host", b"").lower() not in self._hosts:
            answer = _refusal(403, "this Host is not served here")
        elif not hmac.compare_digest(headers.get(b"authorization", b""), self._expected):
            answer = _refusal(401, "missing or wrong secret", "authentication_error")
        if scope["type"] == "websocket" and answer is not self._app:
            await WebSocket(scope, receive, send).close()
            return
        await answer(scope, receive, send)


def _refusal(
    status: int, message: str, kind: str = "invalid_request_error", code: str | None = None
) -> Response:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return JSONResponse({"error": error}, status)
