"""Translation: the turn in the upstream's protocol, and its answer in the client's.

The last stage on the way there: the request that it builds is all that leaves.
"""

from __future__ import annotations

import asyncio

from addons.services import Services
from addons.stage import Stage
from shim.exchange import answers
from shim.exchange.replies import failed_field
from shim.exchange.upstream_request import build
from shim.exchange.values import Decision, Head, Intake, Outcome, Passage, Reply
from shim.prompt.cache import Caches
from shim.turn import Failure, WireError
from shim.wire.protocols import Caching

#: Above this many bytes a request, or an answer that comes whole, is translated beside the event
#: loop, so that streams flow on.
_BIG = 1024 * 1024


class Translate(Stage):
    writes = frozenset({"turn", "edits", "translation", "transcoder", "upstream"})

    def __init__(self, services: Services) -> None:
        self._services, self._policies = services, services.policies
        self._caches = Caches()

    async def request(
        self, intake: Intake, decision: Decision
    ) -> Decision | tuple[Decision, Reply]:
        policy, caching = self._policies.current(), self._caching(intake, decision)
        try:
            decision = answers.prepare(intake, decision, policy, caching)
            translation = decision.translation
            assert translation
            if intake.counts and translation.translates:
                return decision, answers.counted(decision)
            if len(decision.turn.body) > _BIG:
                body = await asyncio.to_thread(translation.request)
            else:
                body = translation.request()
            if not intake.counts:
                decision = decision.with_(transcoder=translation.translator())
        except WireError as e:
            failure = Failure(str(e), e.status, type="invalid_request_error")
            return decision, failed_field(intake, failure, e.param)
        for text in translation.notes:
            decision = decision.note(self.name, "translated", text)
        return decision.with_(upstream=build(intake, decision, body))

    def _caching(self, intake: Intake, decision: Decision) -> Caching | None:
        facts, route = decision.facts, decision.route
        if facts is None or route is None or intake.counts:
            return None
        own = route.login or (intake.request.proxied and route.provider == "reverse")
        if own and decision.turn.protocol == "responses":
            # Codex names its cache itself.
            return None
        rules = self._policies.for_thread(facts.thread, facts.started).policy.cache
        if rules is None:
            return None
        return self._caches.caching(rules, facts, decision.turn, intake.request.started)

    def responseheaders(
        self, intake: Intake, decision: Decision, head: Head, passage: Passage | None
    ) -> Passage:
        return answers.passage(intake, decision, head)

    async def response(
        self, intake: Intake, decision: Decision, outcome: Outcome
    ) -> Outcome | None:
        passage = outcome.passage
        if passage is None:
            return None
        if passage.streams:
            return answers.streamed(passage, outcome)
        whole = intake, decision, passage, outcome, self._services.body_limit
        if _is_big(outcome):
            return await asyncio.to_thread(answers.whole, *whole)
        return answers.whole(*whole)

    def error(self, intake: Intake, decision: Decision, outcome: Outcome) -> Outcome | None:
        passage = outcome.passage
        return answers.streamed(passage, outcome) if passage and passage.transcoder else None


def _is_big(outcome: Outcome) -> bool:
    """Whether it takes long to read; what is encoded tells its size only as it is unpacked."""
    head = outcome.upstream
    encoded = head is not None and "content-encoding" in head.headers
    return encoded or sum(map(len, outcome.received)) > _BIG
