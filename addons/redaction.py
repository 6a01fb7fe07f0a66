"""What takes keys and secrets out of what the chain writes down of a turn."""

from __future__ import annotations

from addons import legs
from shim.exchange.rows import route_secrets
from shim.exchange.values import Decision
from shim.policy.inforce import InForce
from shim.record.redact import Redactor


def hider(
    secrets: frozenset[str], decision: Decision | None, policy: InForce, place: str
) -> Redactor:
    """The Redactor for what is written in ``place`` (logged, recorded) of a turn; ``secrets`` are
    its client's credentials."""
    facts = decision.facts if decision else None
    session = facts.session if facts and policy.policy.redact else ""
    return legs.redactor(secrets | route_secrets(decision), policy.masked(place), session)
