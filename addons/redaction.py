"""What takes keys and secrets out of what the chain writes down of a turn."""

from __future__ import annotations

from addons import legs
from addons.jobs import Used
from shim.exchange.rows import route_secrets
from shim.exchange.values import Decision
from shim.policy.inforce import InForce
from shim.policy.rules import Place
from shim.record.redact import Redactor
from shim.wire.masks import Table


def hider(
    secrets: frozenset[str], decision: Decision | None, policy: InForce, place: Place
) -> Redactor:
    """The Redactor for what is written in ``place`` (logged, recorded) of a turn; ``secrets`` are
    its client's credentials."""
    facts = decision.facts if decision else None
    rules, used = policy.masked(place), used_in(decision)
    session = facts.session if facts and rules else ""
    return legs.redactor(secrets | route_secrets(decision), rules, session, used)


def sent_of(decision: Decision | None) -> Used:
    """The secrets of a turn's session in whose place masks have left, each with its mask."""
    table = decision.edits.masks if decision else {}
    return tuple(sorted((secret, mask) for mask, secret in table.items()))


def used_in(decision: Decision | None) -> Used:
    """The secrets of a turn's session that its model has put to use, each with its mask."""
    table = decision.edits.masks if decision else None
    return tuple(sorted(table.used.items())) if isinstance(table, Table) else ()
