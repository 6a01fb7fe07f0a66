"""State: conversations by ``previous_response_id``, pages of stored responses, WebSocket.

This stage completes the turn, before anything is decided about it; `addons.compaction` says what
that means for its upstream, once there is one, and `addons.response_store` keeps the answer.
"""

from __future__ import annotations

import logging
import os
from hashlib import sha256
from pathlib import Path

from mitmproxy import ctx

from addons.services import Services
from addons.stage import Stage
from shim.codex.where import state_folder
from shim.exchange.access import bare
from shim.exchange.replies import JSON, failed_field, refusal
from shim.exchange.stored_responses import upstream_of
from shim.exchange.upstream_request import fields_of
from shim.exchange.values import (
    Access,
    ClientRequest,
    Conversation,
    Decision,
    Intake,
    Reply,
    UpstreamRequest,
)
from shim.state import expand, page
from shim.state.conversations import Conversations, Gone, Kept
from shim.state.store import Memory, SQLite
from shim.turn import Failure, WireError

logger = logging.getLogger(__name__)

#: What the engine behind a WebSocket is reached by.
_SOCKET_PATH = "/responses"


class State(Stage):
    writes = frozenset({"turn", "conversation"})

    def __init__(self, services: Services) -> None:
        self._services = services
        self.kept = Conversations(services.store)

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "state",
            str,
            "responses.db",
            "File for stored responses, in the state folder unless it is a full path; "
            "empty, or without record_dir: they are kept in memory.",
        )

    def configure(self, updated: set[str]) -> None:
        if updated & {"state", "record_dir"}:
            folder, name = ctx.options.record_dir, ctx.options.state
            path = Path(name).expanduser()
            former = None
            if folder and not path.is_absolute():
                # What is shared of a folder of recordings holds no conversation by accident.
                records = Path(folder).expanduser().resolve()
                mark = sha256(os.fsencode(records)).hexdigest()[:12]
                path, former = state_folder() / "responses" / mark / name, records / name
            on_disk = name and path.is_absolute()
            self._services.store.use(SQLite(path, former=former) if on_disk else Memory())

    async def done(self) -> None:
        await self.kept.close()

    async def page(self, access: Access) -> Reply | UpstreamRequest | None:
        if access.kind == "socket":
            return await self._to_engine(access.request)
        if access.kind == "stored" and (what := expand.stored(access.request.path)):
            return await self._stored(access.request, *what)
        return None

    async def request(
        self, intake: Intake, decision: Decision
    ) -> Decision | tuple[Decision, Reply] | None:
        if intake.turn.protocol != "responses":
            return None
        try:
            return await self._complete(intake, decision)
        except WireError as e:
            return decision, failed_field(intake, Failure(str(e), e.status), e.param)

    async def _complete(self, intake: Intake, decision: Decision) -> Decision:
        """The decision with a turn that holds all it refers to."""
        turn, owner = decision.turn, intake.request.owner
        own = turn.fields["input"]
        id = expand.previous(turn)
        if id is None:
            return decision.with_(conversation=Conversation(turn, own))
        try:
            history = await self.kept.history(owner, id)
        except Gone as gone:
            return decision.with_(conversation=Conversation(turn, own, missing=gone.id))
        # The answer names what it continues.
        full = expand.with_items(turn, [*history.items, expand.inner(own)], previous_response_id=id)
        conversation = Conversation(full, own, tuple(history.ids), (id, history.mark))
        text = f"what was said up to {id} put in front"
        return decision.with_(turn=full, conversation=conversation).note(
            self.name, "completed", text
        )

    async def _stored(
        self, request: ClientRequest, id: str, items: bool
    ) -> Reply | UpstreamRequest:
        """A page about the response ``id`` as it is stored here, or where it may be."""
        owner = request.owner
        if (kept := await self.kept.find(owner, id)) is None:
            services = self._services
            policy = services.policies.current()
            own = ctx.options.upstream
            upstream = upstream_of(request, policy, services.default(policy), own)
            if upstream:
                return upstream
            message = f"Response with id {id!r} not found."
            return refusal(request.path, 404, message, param="response_id")
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
            return refusal(request.path, e.status, str(e), param=e.param)
        return Reply(200, JSON, body)

    async def _input(self, owner: str, kept: Kept) -> list[bytes]:
        """All input items of a stored response, or its own where earlier ones are gone."""
        earlier: list[bytes] = []
        if kept.parent:
            try:
                earlier = (await self.kept.history(owner, kept.parent[0])).items
            except Gone:
                pass
        return [piece for piece in (*earlier, kept.input) if piece]

    async def _to_engine(self, request: ClientRequest) -> UpstreamRequest:
        """Have the engine server beside us accept the WebSocket; its turns come back by POST."""
        server = await self._services.engines.server()
        logger.info("GET %s · WebSocket", bare(request.path))
        _, host, port = request.local
        name = f"[{host}]" if ":" in host else host
        headers = dict(request.headers)
        server.aim_socket(headers, f"http://{name}:{port}{request.path}", request.owner)
        engine, at = server.address
        fields = fields_of(headers)
        return UpstreamRequest("http", engine, at, request.method, _SOCKET_PATH, fields, b"")
