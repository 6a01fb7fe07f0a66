"""Live replay: with ``--set replay=FILE`` a recording answers in the place of every upstream.

Right behind the gate: no later stage sees an unanswered turn, so nothing is asked of anybody.
"""

from __future__ import annotations

import logging
from pathlib import Path

from mitmproxy import ctx

from addons.fatal import fatal
from addons.flowfile import Unreadable, read
from addons.services import Services
from addons.stage import Stage
from shim.exchange.access import bare
from shim.exchange.replies import failed, refusal
from shim.exchange.values import Access, Decision, Intake, Reply
from shim.policy.schema import Policy
from shim.record.served import Match, Served
from shim.turn import Failure, WireError

logger = logging.getLogger(__name__)

_STOCK = (
    "server_replay compares whole requests, and no live agent sends the same one twice; "
    "use --set replay=FILE, which follows the turns"
)
#: What belongs to the connection the recorded answer went over, or to its encoding.
_HOP = frozenset(
    {"content-length", "content-encoding", "connection", "keep-alive", "transfer-encoding"}
)


class ServerReplay(Stage):
    def __init__(self, services: Services) -> None:
        self._services = services
        self._served: Served | None = None
        self._policy: Policy | None = None

    @property
    def name(self) -> str:
        return "replay"

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "replay",
            str,
            "",
            "Flow file whose answers are given to live turns; no upstream is asked.",
        )

    def configure(self, updated: set[str]) -> None:
        if "server_replay" in ctx.options and ctx.options.server_replay:
            fatal(_STOCK, running=self._services.running)
        if "replay" in updated:
            self._served = self._read(ctx.options.replay) if ctx.options.replay else None

    def _read(self, name: str) -> Served:
        path, running = Path(name).expanduser(), self._services.running
        try:
            found = list(read(path))
            served = Served(found)
        except Unreadable as e:
            fatal(f"replay: {e}", running=running)
        if not served.turns:
            fatal(f"replay: {path}: holds no recorded turns", running=running)
        policies = [recorded.policy for recorded in found if recorded.policy]
        self._policy = policies[-1] if policies else None
        logger.warning(
            "%d recorded turns of %s answer; the client runs their tool calls for real",
            served.turns,
            path,
        )
        return served

    def running(self) -> None:
        """The recorded policy is in force where there is no other: the client sees its models."""
        if self._served and self._policy and not ctx.options.policy:
            self._services.policies.use(self._policy)

    def server_connect(self) -> str | None:
        """Why nothing is connected to; None when it is."""
        return "a recording is served: nothing is connected to" if self._served else None

    def page(self, access: Access) -> Reply | None:
        if self._served is None:
            return None
        path = access.request.path
        message = f"{bare(path)} is not recorded, and only a recording answers here"
        return refusal(path, 426 if access.kind == "socket" else 404, message)

    def request(self, intake: Intake, decision: Decision) -> tuple[Decision, Reply] | None:
        if self._served is None:
            return None
        try:
            match = self._served.match(intake.headers, intake.turn)
        except WireError as e:
            match = Match(str(e))
        recorded = match.told
        if recorded is None or recorded.response is None:
            why = "the recorded turn got no answer" if recorded else match.where
            text = f"{why} ({ctx.options.replay}); nothing was sent"
            failure = Failure(text, 400, "not_recorded", "invalid_request_error")
            return decision.note(self.name, "unmatched", text), failed(intake, failure)
        decision = decision.note(self.name, "matched", match.where)
        if match.differs:
            logger.warning("replay: %s is not as it was recorded", match.where)
        for line in match.differs:
            decision = decision.note(self.name, "differs", line)
            logger.warning("replay: %s", line)
        headers = {k: v for k, v in recorded.response.headers.items() if k not in _HOP}
        return decision, Reply(recorded.response.status, headers, match.body)
