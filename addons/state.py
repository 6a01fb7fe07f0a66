"""State: conversations by ``previous_response_id``, stored responses, compaction, WebSocket.

This stage, before translation, completes the turn; `addons.keep`, behind it, keeps the answer. An
upstream that speaks Responses has state of its own: its turns pass, except that a conversation
which was stored here goes along in full.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from mitmproxy import ctx, http
from mitmproxy.proxy.mode_specs import ReverseMode

from addons.exchange import Chain, Exchange, bare, exchange_of, refuse
from addons.gate import upgrades
from addons.upstream_state import aim, clean
from shim.state import compact, expand, page
from shim.state.conversations import Conversations, Gone, Kept
from shim.state.store import Memory, SQLite
from shim.turn import Failure, Turn, WireError
from shim.wire.protocols import codec

if TYPE_CHECKING:
    from shim.engines.server import EngineServer

logger = logging.getLogger(__name__)

_JSON = {"content-type": "application/json"}


@dataclass
class Plan:
    """What is to be done with the answer of one turn.

    ``turn`` holds the whole conversation, ``own`` the input items of the client's turn itself;
    ``ids`` are the stored responses that the others came from. ``compacts``: the answer is a
    summary.
    """

    turn: Turn
    own: bytes
    ids: list[str]
    parent: tuple[str, str] | None
    stores: bool
    compacts: bool
    done: bool = False


class State:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._engines: EngineServer | None = None
        self.kept = Conversations(Memory())
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
            self.kept = Conversations(SQLite(path) if on_disk else Memory())

    async def done(self) -> None:
        await self.kept.close()
        if self._engines:
            await self._engines.stop()

    async def request(self, flow: http.HTTPFlow) -> None:
        if flow.response or not isinstance(flow.client_conn.proxy_mode, ReverseMode):
            return
        exchange = exchange_of(flow)
        if exchange is None:
            if upgrades(flow.request):
                await self._to_engine(flow)
            elif what := expand.stored(flow.request.path):
                await self._page(flow, *what)
        elif exchange.turn.protocol == "responses" and exchange.route:
            begun = time.perf_counter()
            try:
                await self._complete(flow, exchange)
            except WireError as e:
                self._fail(flow, exchange, Failure(str(e), e.status), e.param)
            exchange.added += time.perf_counter() - begun

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        clean(flow)

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        # mitmproxy would keep all messages; each turn in them has a flow of its own.
        if flow.websocket:
            del flow.websocket.messages[:-1]

    async def _complete(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Give the exchange a turn that holds all it refers to, and note what to do afterwards."""
        assert exchange.route
        turn, owner = exchange.turn, self._chain.owners.get(flow, "")
        native = exchange.route.protocol == "responses"
        endpoint = expand.is_compact(exchange.client_request.path)
        id = expand.previous(turn)
        stores = expand.is_stored(turn) and not native and not endpoint
        compacts = not native and (endpoint or compact.is_triggered(turn))
        if not native:
            expand.refuse_conversation(turn)
        history = None
        if id is not None:
            try:
                history = await self.kept.history(owner, id)
            except Gone as gone:
                if not native:
                    self._not_found(flow, exchange, id, gone.id)
                    return
        full = turn
        if history:
            pieces = [*history.items, expand.inner(turn.fields["input"])]
            # The answer names what it continues; who knows nothing of that id must not see it.
            full = expand.with_items(turn, pieces, previous_response_id=None if native else id)
            exchange.decide("state", f"what was said up to {id} put in front")
            self._record_in_full(exchange, full)
        sent = expand.readable(full)
        if compacts:
            sent = compact.summary_turn(sent)
            exchange.decide("state", "the model is asked for a summary: compaction")
        if endpoint:
            _compact_path(flow.request, native=native)
        if sent is not turn:
            exchange.turn = sent
            flow.request.headers.pop("content-encoding", None)
            flow.request.content = sent.body
            if compacts:
                flow.request.headers["accept"] = "application/json"
        if stores or compacts:
            self.plans[flow] = Plan(
                full,
                expand.inner(turn.fields["input"]),
                history.ids if history else [],
                (id, history.mark) if id and history else None,
                stores,
                compacts,
            )

    def _record_in_full(self, exchange: Exchange, turn: Turn) -> None:
        """The recording gets the whole turn: alone it can be replayed, and read."""
        request = exchange.client_request.copy()
        request.headers.pop("content-encoding", None)
        request.content = turn.body
        exchange.client_request = request

    def _not_found(self, flow: http.HTTPFlow, exchange: Exchange, id: str, gone: str) -> None:
        why = f"Previous response with id {id!r} not found"
        if gone != id:
            why += f": {gone!r}, an earlier part of its conversation, is not stored any more"
        failure = Failure(f"{why}.", 400, "previous_response_not_found", "invalid_request_error")
        self._fail(flow, exchange, failure, "previous_response_id")

    def _fail(
        self, flow: http.HTTPFlow, exchange: Exchange, failure: Failure, param: str | None
    ) -> None:
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
        if self._engines is None:
            from shim.engines.server import EngineServer

            self._engines = EngineServer()
            await self._engines.start()
        request, sockname = flow.request, flow.client_conn.sockname
        logger.info("GET %s · WebSocket", bare(request.path))
        host, port = str(sockname[0]), int(sockname[1])
        name = f"[{host}]" if ":" in host else host
        back = f"http://{name}:{port}{request.path}"
        self._engines.aim_socket(request.headers, back)
        request.scheme, request.path = "http", "/responses"
        request.host, request.port = self._engines.address


def _compact_path(request: http.Request, *, native: bool) -> None:
    """The router took the endpoint for a prefix, or for plain Responses."""
    bare, mark, query = request.path.partition("?")
    bare = bare.replace("/responses/compact/", "/", 1)
    request.path = bare + ("/compact" if native else "") + mark + query
