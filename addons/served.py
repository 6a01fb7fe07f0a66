"""Live replay: with ``--set replay=FILE`` a recording answers in the place of every upstream.

Right behind the gate: no later stage sees an unanswered turn, so nothing is asked of anybody.
"""

from __future__ import annotations

import logging
from pathlib import Path

from mitmproxy import ctx, http
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from addons.exchange import Chain, Exchange, bare, exchange_of, is_ours, refuse
from addons.flowfile import Unreadable, read
from addons.stop import stop
from shim.record.served import Match, Served
from shim.turn import Failure, WireError

logger = logging.getLogger(__name__)

_STOCK = (
    "server_replay compares whole requests, and no live agent sends the same one twice; "
    "use --set replay=FILE, which follows the turns"
)
#: What belongs to the connection the recorded answer went over, or to its encoding.
_HOP = frozenset({"content-length", "content-encoding", "connection", "keep-alive"})


class Serve:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._served: Served | None = None

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "replay",
            str,
            "",
            "Flow file whose answers are given to live turns; no upstream is asked.",
        )

    def configure(self, updated: set[str]) -> None:
        if "server_replay" in ctx.options and ctx.options.server_replay:
            stop(_STOCK, running=self._chain.running)
        if "replay" in updated:
            self._served = self._read(ctx.options.replay) if ctx.options.replay else None

    def _read(self, name: str) -> Served:
        path = Path(name).expanduser()
        try:
            served = Served(read(path))
        except Unreadable as e:
            stop(f"replay: {e}", running=self._chain.running)
        if not served.turns:
            stop(f"replay: {path}: holds no recorded turns", running=self._chain.running)
        logger.warning(
            "%d recorded turns of %s answer; the client runs their tool calls for real",
            served.turns,
            path,
        )
        return served

    def request(self, flow: http.HTTPFlow) -> None:
        if self._served is None or flow.response:
            return
        exchange = exchange_of(flow)
        if exchange is not None:
            self._answer(flow, exchange, self._served)
        elif is_ours(flow):
            said = f"{bare(flow.request.path)} is not recorded, and only a recording answers here"
            upgrade = "upgrade" in flow.request.headers
            refuse(flow, 426 if upgrade else 404, said)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        if self._served is not None:
            data.server.error = "a recording is served: nothing is connected to"

    def _answer(self, flow: http.HTTPFlow, exchange: Exchange, served: Served) -> None:
        try:
            match = served.match(exchange.headers, exchange.asked)
        except WireError as e:
            match = Match(str(e))
        told = match.told
        if told is None or told.response is None:
            why = "the recorded turn got no answer" if told else match.where
            said = f"{why} ({ctx.options.replay}); nothing was sent"
            exchange.decide("replay", said)
            exchange.fail(flow, Failure(said, 400, "not_recorded", "invalid_request_error"))
            return
        exchange.decide("replay", match.where)
        if match.differs:
            logger.warning("replay: %s is not as it was recorded", match.where)
        for line in match.differs:
            exchange.decide("replay", line)
            logger.warning("replay: %s", line)
        headers = {k: v for k, v in told.response.headers.items() if k not in _HOP}
        if flow.request.http_version != "HTTP/1.1":
            headers.pop("transfer-encoding", None)
        flow.response = http.Response.make(told.response.status, match.body, headers)
