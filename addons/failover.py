"""Failover: what an upstream's failure means for its health, and the way to the next candidate.

Behind translation: a failure before the client got anything sends it on by 307, or lets it come
again; one in mid-answer is remembered for its retry.
"""

from __future__ import annotations

import msgspec

from addons.redaction import hider
from addons.services import Services
from addons.stage import Stage
from shim.client import client_name
from shim.exchange.replies import failed
from shim.exchange.values import Decision, Intake, Outcome, Reply, Routing
from shim.policy.schema import Health
from shim.record.redact import redactor
from shim.route.failures import key
from shim.route.tried import FOLLOW, again
from shim.turn import Failure

#: Another candidate may do better.
_ELSEWHERE = frozenset({0, 408, 429})


class Failover(Stage):
    def __init__(self, services: Services) -> None:
        self._services = services

    def response(self, intake: Intake, decision: Decision, outcome: Outcome) -> Outcome | None:
        routing, failure = decision.routing, outcome.failure
        if routing is None or outcome.upstream is None:
            return None
        if failure is None or not _elsewhere(failure):
            self._services.breakers.good(routing.route.provider)
            return None
        self._bad(intake, decision, routing, failure)
        if not routing.remaining:
            return None
        after = routing.remaining[0].label
        if outcome.passage and outcome.passage.streams:
            self._note(intake, routing, failure)
            return None
        if client_name(intake.headers) in FOLLOW:
            attempted = routing.attempted | {routing.route.label}
            path = again(intake.request.path, attempted)
            text = f"sent on to {after}: {failure.message}"
            reply = Reply(307, {"location": path}, b"", failure)
            return outcome.with_(reply=reply, status=307).note(self.name, "sent_on", text)
        self._note(intake, routing, failure)
        text = f"{failure.message} (send it again: {after} is asked then)"
        later = Failure(text, 503, "overloaded", "overloaded_error", delay=1.0)
        reply = failed(intake, later, routing.secrets)
        text = f"the client may come again, for {after}"
        outcome = outcome.with_(failure=reply.failure, reply=reply, status=reply.status)
        return outcome.note(self.name, "come_again", text)

    def error(self, intake: Intake, decision: Decision, outcome: Outcome) -> Outcome | None:
        routing, failure = decision.routing, outcome.failure
        if routing is None or decision.upstream is None:
            return None
        why = outcome.broke or "no answer"
        if failure is None and "client disconnected" not in why.lower():
            what = "the answer broke off" if outcome.upstream else "no answer came"
            text = f"{routing.route.provider}: {what}: {why}"
            failure = Failure(text, 502, "upstream_unreachable")
        if failure is None:
            return None
        if _elsewhere(failure):
            self._bad(intake, decision, routing, failure)
            if routing.remaining or outcome.upstream is None:
                self._note(intake, routing, failure)
        return outcome.with_(failure=failure)

    def _bad(self, intake: Intake, decision: Decision, routing: Routing, failure: Failure) -> None:
        name, policy = routing.route.provider, self._services.policies.in_force()
        provider = policy.policy.providers.get(name)
        settings = provider.health if provider else Health()
        # It is shown to everybody, for as long as the provider is not well.
        why = hider(intake.secrets, decision, policy, "logged").text(failure.message)
        self._services.breakers.bad(name, why, settings, failure.delay)

    def _note(self, intake: Intake, routing: Routing, failure: Failure) -> None:
        at = key(intake.dedupe_key, intake.turn)
        attempted = routing.attempted | {routing.route.label}
        # Whoever is told of it may have come with another key.
        said = redactor(intake.secrets | routing.secrets).text(failure.message)
        failure = msgspec.structs.replace(failure, message=said)
        self._services.failures.note(at, failure, attempted)


def _elsewhere(failure: Failure) -> bool:
    if failure.context:
        return False
    return failure.status in _ELSEWHERE or failure.status >= 500
