"""State: conversations by ``previous_response_id``, pages of stored responses, WebSocket.

This stage completes the turn, before anything is decided about it; `addons.compact` says what that
means for its upstream, once there is one, and `addons.keep` keeps the answer.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from mitmproxy import ctx, http

from addons.exchange import Chain, Exchange, bare, exchange_of, is_ours, refuse
from addons.gate import upgrades
from addons.upstream_state import aim, clean
from shim.state import expand, page
from shim.state.conversations import Conversations, Gone, Kept
from shim.state.store import Memory, SQLite
from shim.turn import Failure, Turn, WireError
from shim.wire.protocols import codec

logger = logging.getLogger(__name__)

_JSON = {"content-type": "application/json"}


@dataclass
class Completed:
    """What a turn refers to. ``turn`` holds the whole conversation, ``said`` only what the client
    said now; ``ids`` are the stored responses that the rest came from, ``parent`` the last of them.
    ``gone``: this one is not stored here (any more).
    """

    turn: Turn
    said: Turn
    ids: list[str]
    parent: tuple[str, str] | None
    gone: str | None = None

    @property
    def own(self) -> bytes:
        """The input items of the client's turn itself, without brackets."""
        return expand.inner(self.said.fields["input"])


@dataclass
class Plan:
    """What is to be done with the answer of one turn; ``compacts``: it is a summary."""

    completed: Completed
    stores: bool
    compacts: bool
    done: bool = False


class State:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.kept = Conversations(Memory())
        self.completed: WeakKeyDictionary[http.HTTPFlow, Completed] = WeakKeyDictionary()
        self.plans: WeakKeyDictionary[http.HTTPFlow, Plan] = WeakKeyDictionary()

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "state",
            str,
            "responses.db",
            "File for stored responses, in record_dir unless it is a full path; "
            "empty, or without record_dir: they are kept in memory.",
        )

    def configure(self, updated: set[str]) -> None:
        if updated & {"state", "record_dir"}:
            folder, name = ctx.options.record_dir, ctx.options.state
            path = Path(folder or ".").expanduser() / Path(name).expanduser()
            on_disk = name and (folder or path.is_absolute())
            self._chain.store = store = SQLite(path) if on_disk else Memory()
            self.kept = Conversations(store)

    async def done(self) -> None:
        await self.kept.close()

    async def request(self, flow: http.HTTPFlow) -> None:
        if flow.response or not is_ours(flow):
            return
        exchange = exchange_of(flow)
        if exchange is None:
            if upgrades(flow.request):
                await self._to_engine(flow)
            elif what := expand.stored(flow.request.path):
                await self._page(flow, *what)
        else:
            begun = time.perf_counter()
            try:
                if exchange.turn.protocol == "responses":
                    await self._complete(flow, exchange)
            except WireError as e:
                fail(flow, exchange, Failure(str(e), e.status), e.param)
            exchange.added += time.perf_counter() - begun
            exchange.passed.add("state")

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        clean(flow)

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        # mitmproxy would keep all messages; each turn in them has a flow of its own.
        if flow.websocket:
            del flow.websocket.messages[:-1]

    async def _complete(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Give the exchange a turn that holds all it refers to."""
        turn, owner = exchange.turn, self._chain.owners.get(flow, "")
        id = expand.previous(turn)
        if id is None:
            self.completed[flow] = Completed(turn, turn, [], None)
            return
        try:
            history = await self.kept.history(owner, id)
        except Gone as gone:
            self.completed[flow] = Completed(turn, turn, [], None, gone.id)
            return
        # The answer names what it continues.
        own = expand.inner(turn.fields["input"])
        full = expand.with_items(turn, [*history.items, own], previous_response_id=id)
        exchange.decide("state", f"what was said up to {id} put in front")
        self._record_in_full(exchange, full)
        exchange.turn = full
        self.completed[flow] = Completed(full, turn, history.ids, (id, history.mark))

    def _record_in_full(self, exchange: Exchange, turn: Turn) -> None:
        """The recording gets the whole turn: alone it can be replayed, and read."""
        request = exchange.client_request.copy()
        request.headers.pop("content-encoding", None)
        request.content = turn.body
        exchange.client_request = request

    async def _page(self, flow: http.HTTPFlow, id: str, items: bool) -> None:
        owner, request = self._chain.owners.get(flow, ""), flow.request
        if (kept := await self.kept.find(owner, id)) is None:
            if not aim(flow, self._chain):
                refuse(flow, 404, f"Response with id {id!r} not found.", param="response_id")
            return
        try:
            if request.method == "DELETE":
                await self.kept.drop(owner, id)
                body = page.deleted_page(id)
            elif items:
                body = page.items_page(id, await self._input(owner, kept), request.query)
            elif request.query.get("stream", "").lower() == "true":
                raise WireError("stream: a stored response is not streamed again", param="stream")
            else:
                body = page.response_page(kept)
        except WireError as e:
            refuse(flow, e.status, str(e), param=e.param)
            return
        flow.response = http.Response.make(200, body, _JSON)

    async def _input(self, owner: str, kept: Kept) -> list[bytes]:
        """All input items of a stored response, or its own where earlier ones are gone."""
        earlier: list[bytes] = []
        if kept.parent:
            try:
                earlier = (await self.kept.history(owner, kept.parent[0])).items
            except Gone:
                pass
        return [piece for piece in (*earlier, kept.input) if piece]

    async def _to_engine(self, flow: http.HTTPFlow) -> None:
        """Have the engine server beside us accept the WebSocket; its turns come back by POST."""
        server = await self._chain.engines.server()
        request, sockname = flow.request, flow.client_conn.sockname
        logger.info("GET %s · WebSocket", bare(request.path))
        host, port = str(sockname[0]), int(sockname[1])
        name = f"[{host}]" if ":" in host else host
        back = f"http://{name}:{port}{request.path}"
        server.aim_socket(request.headers, back)
        request.scheme, request.path = "http", "/responses"
        request.host, request.port = server.address


def fail(flow: http.HTTPFlow, exchange: Exchange, failure: Failure, param: str | None) -> None:
    """Answer with ``failure``, and name the field where the client's protocol has room for it."""
    exchange.fail(flow, failure)
    if not exchange.codex:
        body = codec("responses").error_body(
            failure.message,
            status=failure.status,
            type=failure.type or "invalid_request_error",
            code=failure.code or None,
            param=param,
        )
        flow.response = http.Response.make(failure.status, body, _JSON)
