"""What one exchange came to, in a row: for the log, the journal, the pages and the recording."""

from __future__ import annotations

from typing import Any

import msgspec

from .. import client
from ..record import summary
from .values import Access, Decision, Ended, Intake, Outcome


def conversation(intake: Intake, decision: Decision) -> tuple[str | None, str | None, str | None]:
    """The ids of a turn's session, thread and turn, as far as anybody tells."""
    session, thread, turn = client.conversation(intake.headers)
    if facts := decision.facts:
        session, thread = facts.session or session, facts.thread or thread
    return session, thread, turn


def identity(intake: Intake, decision: Decision, policy: str) -> dict[str, Any]:
    """Whose turn it is, and under which version of the policy, as far as that is known."""
    session, thread, turn = conversation(intake, decision)
    ids = {"session": session, "thread": thread, "turn": turn}
    return {**ids, "client": client.client_name(intake.headers), "policy": policy}


def secrets_of(ended: Ended) -> frozenset[str]:
    """What must be written nowhere of an exchange: the client's credentials and the provider's."""
    return ended.secrets | route_secrets(ended.decision)


def route_secrets(decision: Decision | None) -> frozenset[str]:
    """The credentials that go to the provider of a turn."""
    routing = decision.routing if decision else None
    return routing.secrets if routing else frozenset()


def row_of(intake: Intake, decision: Decision, outcome: Outcome, policy: str) -> summary.Row:
    """The row of a turn."""
    error = outcome.failure.message if outcome.failure else outcome.broke
    started, first = intake.request.started, outcome.first_byte
    ids = identity(intake, decision, policy)
    notes = (*decision.notes, *outcome.notes)
    return summary.Row(
        exchange=intake.request.id,
        thread=ids["thread"],
        model=intake.turn.model,
        route=summary.route_fields(decision.route),
        codex=intake.codex,
        stream=decision.turn.stream,
        status=_status(outcome),
        calls=outcome.calls,
        usage=summary.usage_fields(outcome.usage),
        ms={
            "total": round((outcome.ended - started) * 1000, 1),
            "first_byte": round(max(0, first - started) * 1000, 1) if first else None,
            "added": round(outcome.overhead * 1000, 2),
        },
        decisions=list(notes),
        repairs=sum(note.stage == "repair" for note in notes),
        seed=vars(decision.turn).get("seed"),
        edited=decision.edits.changed,
        session=ids["session"],
        account=msgspec.to_builtins(outcome.account) if outcome.account else None,
        error=error,
        client=ids["client"],
        turn=ids["turn"],
        policy=policy,
    )


def unread_row(access: Access, outcome: Outcome, policy: str) -> summary.Row:
    """The row of what was refused before it could be read as a turn."""
    request = access.request
    session, thread, turn = client.conversation(request.headers)
    failure = outcome.failure
    error = failure.message if failure else outcome.broke
    total = round(max(0.0, outcome.ended - request.started) * 1000, 1)
    return summary.Row(
        exchange=request.id,
        thread=thread,
        model="",
        route={},
        codex=client.is_codex(request.headers),
        stream=False,
        status=outcome.status,
        calls=0,
        usage=None,
        ms={"total": total, "first_byte": None, "added": round(outcome.overhead * 1000, 2)},
        decisions=list(outcome.notes),
        session=session,
        error=error,
        client=client.client_name(request.headers),
        turn=turn,
        policy=policy,
    )


def legible(row: summary.Row) -> bytes:
    """``row`` as JSON, which cannot say half a surrogate pair of a client's words."""
    try:
        return msgspec.json.encode(row)
    except UnicodeEncodeError:
        return msgspec.json.encode(_legible(msgspec.to_builtins(row)))


def _legible(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_legible(name): _legible(inner) for name, inner in value.items()}
    return [_legible(inner) for inner in value] if isinstance(value, list) else value


def last_row(id: str, outcome: Outcome) -> dict[str, Any]:
    """The row of an exchange that could not be summed up: that it has ended, and nothing else."""
    ms: dict[str, float | None] = {"total": None, "first_byte": None, "added": None}
    row = summary.Row(
        exchange=id,
        thread=None,
        model="",
        route={},
        codex=False,
        stream=False,
        status=outcome.status,
        calls=0,
        usage=None,
        ms=ms,
        decisions=[],
        error="it could not be summed up; the chain's log says why",
    )
    return dict(msgspec.to_builtins(row))


def _status(outcome: Outcome) -> int:
    """The upstream's own status where it gave one, else what the client got."""
    failure = outcome.failure
    return failure.status if failure and failure.status else outcome.status
