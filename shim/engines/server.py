"""The loopback engine server: models that are no HTTP API, served as one to the proxy beside it.

It runs under uvicorn inside the event loop of its caller, on an ephemeral port of 127.0.0.1, and
answers only who knows the secret of this process. Starlette and uvicorn are imported in `start`,
so that a chain without an engine pays nothing for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections.abc import Collection, Iterator, MutableMapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING:
    import uvicorn

    from .agents.serve import Agents

_HOST = "127.0.0.1"
_LONGEST_MESSAGE = 64 * 1024 * 1024
#: The header of a WebSocket on its way to `socket` that names what `Sockets` knows of it.
TICKET = "x-interpose-ticket"
#: Seconds that a WebSocket may take from the proxy to the engine server beside it.
_PATIENCE = 60.0
_CREDENTIALS = ("authorization", "x-api-key")


class Coming(NamedTuple):
    """A WebSocket on its way here: the URL that its turns are posted to, whose client key let it
    in, and the headers with its client's credentials, which stay out of what the proxy sends."""

    back: str
    owner: str
    credentials: dict[str, str]


class Sockets:
    """The WebSockets of a chain: those on their way from the proxy, and those that are open."""

    def __init__(self) -> None:
        self._coming: dict[str, tuple[float, Coming]] = {}
        self._open: dict[asyncio.Event, str] = {}

    def expect(self, coming: Coming) -> str:
        """Let one come; the ticket that it shows."""
        now = time.monotonic()
        self._coming = {t: c for t, c in self._coming.items() if c[0] > now}
        ticket = secrets.token_urlsafe(16)
        self._coming[ticket] = (now + _PATIENCE, coming)
        return ticket

    def arrived(self, ticket: str) -> Coming | None:
        """What is known of the one with that ticket, once."""
        return self._coming.pop(ticket, (0.0, None))[1]

    @contextlib.contextmanager
    def held(self, owner: str) -> Iterator[asyncio.Event]:
        """While one is open; the event is set when it shall end."""
        ends = asyncio.Event()
        self._open[ends] = owner
        try:
            yield ends
        finally:
            del self._open[ends]

    def keep(self, owners: Collection[str]) -> None:
        """Have those end that are nobody's among ``owners``."""
        for ends, owner in self._open.items():
            if owner not in owners:
                ends.set()


class EngineServer:
    """Serves the demo model, and WebSockets. After `start`, ``base_url`` + ``/chat/completions`` is
    the model's endpoint, ``address`` the host and port of all, and ``secret`` the bearer token it
    wants. ``pace``: seconds between two streamed chunks. ``sockets`` are the WebSockets open now.
    """

    def __init__(self, pace: float = 0.0, agents: Agents | None = None) -> None:
        self._agents = agents
        self.pace = pace
        self.secret = secrets.token_urlsafe(32)
        self.sockets = Sockets()
        self.base_url = ""
        self.address = (_HOST, 0)
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; returns once requests are answered. Raises OSError where no port can be had."""
        if self._task is not None:
            return
        import uvicorn

        from .app import engine_app

        listening = asyncio.Event()

        class Server(uvicorn.Server):
            """Leaves the process's signals alone and tells when it listens."""

            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield

            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                listening.set()

        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((_HOST, 0))
        port = listener.getsockname()[1]
        hosts = {f"{_HOST}:{port}", f"localhost:{port}"}
        config = uvicorn.Config(
            engine_app(hosts, self.secret, self.pace, self._agents, self.sockets),
            http="h11",
            ws="wsproto",
            ws_max_size=_LONGEST_MESSAGE,
            # Who is gone is noticed by its connection; a client busy with its tools is not gone.
            ws_ping_interval=None,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=0,
        )
        _silence()
        self._server = Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        waiting = asyncio.create_task(listening.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.is_set():
            waiting.cancel()
            listener.close()
            task, self._task, self._server = self._task, None, None
            await task
            raise OSError("the engine server did not start")
        self.address = (_HOST, port)
        self.base_url = self.url("demo")

    def url(self, name: str) -> str:
        """The base URL of the demo model, or of the agent ``name``."""
        kind = "demo" if name == "demo" else f"agents/{quote(name, safe='')}"
        return f"http://{_HOST}:{self.address[1]}/{kind}/v1"

    def aim_socket(self, headers: MutableMapping[str, str], back: str, owner: str = "") -> None:
        """Make the ``headers`` of a client's WebSocket ones for `socket`; ``back`` is the URL that
        its turns are posted to, with the client's own key, which is ``owner``'s."""
        credentials = {name: headers.pop(name) for name in _CREDENTIALS if name in headers}
        headers[TICKET] = self.sockets.expect(Coming(back, owner, credentials))
        headers["authorization"] = f"Bearer {self.secret}"
        headers["host"] = f"{_HOST}:{self.address[1]}"

    async def stop(self) -> None:
        """Stop listening and cut open streams off; safe to call twice, or before `start`."""
        task, server = self._task, self._server
        self._task = self._server = None
        if task is None or server is None:
            return
        server.should_exit = True
        await asyncio.wait({task})
        self.base_url = ""


def _silence() -> None:
    """uvicorn's own messages would end up in the log of the proxy, or on the terminal."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
