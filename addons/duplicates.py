"""Duplicates: a request that comes again while the first is still under way is counted."""

from __future__ import annotations

from addons.services import Services
from addons.stage import Stage
from shim.exchange.replies import failed
from shim.exchange.values import Decision, Intake, Outcome, Reply
from shim.turn import Failure, Turn


class Duplicates(Stage):
    def __init__(self, services: Services) -> None:
        self._services = services
        #: By who asks: the turns under way, by their ids.
        self._under_way: dict[str, dict[str, Turn]] = {}

    @property
    def name(self) -> str:
        return "duplicate"

    def request(
        self, intake: Intake, decision: Decision
    ) -> Decision | tuple[Decision, Reply] | None:
        if intake.counts:
            return None
        others = self._under_way.setdefault(intake.dedupe_key, {})
        first = next((id for id, turn in others.items() if same(turn, intake.turn)), None)
        others[intake.request.id] = intake.turn
        if first is None:
            return None
        self._services.metrics.duplicates += 1
        text = f"the same request is still under way as {first}"
        decision = decision.note(self.name, "again", text)
        if self._services.policies.current().duplicates != "refuse":
            return decision
        text = "the same request is still under way (the policy refuses duplicates)"
        failure = Failure(text, 409, "duplicate_request", "invalid_request_error")
        return decision, failed(intake, failure)

    def settle(self, intake: Intake, decision: Decision, outcome: Outcome) -> None:
        if others := self._under_way.get(intake.dedupe_key):
            others.pop(intake.request.id, None)
            if not others:
                del self._under_way[intake.dedupe_key]


def same(a: Turn, b: Turn) -> bool:
    """Whether both ask for the same; Codex writes new metadata into a retry."""
    if abs(len(a.body) - len(b.body)) > 64 or a.own.keys() != b.own.keys():
        return False
    return all(a.own[name] == b.own[name] for name in a.own if name != "client_metadata")
