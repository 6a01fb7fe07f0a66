"""Requests on their way through the chain: what the runner knows of each, and it alone writes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

import msgspec
from mitmproxy import http

from shim.exchange.access import secrets_of
from shim.exchange.values import (
    Access,
    Decision,
    Head,
    Intake,
    Outcome,
    Passage,
    Reply,
)
from shim.notes import Note
from shim.policy.inforce import InForce
from shim.turn import Failure


@dataclass(eq=False)
class Run:
    """One request. ``owner`` is the runner that began it: a script that is loaded anew brings
    another one. ``reply`` is what the chain itself answered; ``sealed``: the whole pipeline has
    ended, and what is set on the flow now may leave."""

    owner: Any
    access: Access
    client: http.Request
    intake: Intake | None = None
    decision: Decision | None = None
    reply: Reply | None = None
    head: Head | None = None
    passage: Passage | None = None
    sealed: bool = False
    over: bool = False
    #: Nothing more of the upstream's answer is waited for.
    cut: bool = False
    #: Why there is no answer, or no whole one.
    failure: Failure | None = None
    received: list[bytes] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    first_byte: float | None = None
    overhead: float = 0.0
    #: What was in force when it began.
    policy: InForce | None = None
    #: The policy's keys and the chain's own.
    keys: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._arrived = self.access.request

    @property
    def secrets(self) -> frozenset[str]:
        """The client's credentials, also of what could not be read as a turn."""
        return self.intake.secrets if self.intake else secrets_of(self._arrived, self.keys)

    @property
    def is_turn(self) -> bool:
        """Whether it is a turn, not a page or something that passes."""
        return self.access.kind == "turn"

    def outcome(self, status: int) -> Outcome:
        """What is known of its end so far."""
        reply = self.reply
        return Outcome(
            status=status,
            # A clock may be set back.
            ended=max(time.time(), self.access.request.started),
            upstream=self.head,
            passage=self.passage,
            received=tuple(self.received),
            sent=tuple(self.sent),
            reply=reply,
            failure=reply.failure if reply else None,
            notes=tuple(self.notes),
            first_byte=self.first_byte,
            overhead=self.overhead,
        )


class OpenTurn(Protocol):
    """A turn that has not ended."""

    intake: Intake
    decision: Decision
    first_byte: float | None


_runs: WeakKeyDictionary[http.HTTPFlow, Run] = WeakKeyDictionary()
_admitted: WeakSet[http.HTTPFlow] = WeakSet()
#: What live flows were answered with, without keys: the flow itself is still to be sent.
answers: WeakKeyDictionary[http.HTTPFlow, http.Response] = WeakKeyDictionary()


def run_of(flow: http.HTTPFlow) -> Run | None:
    """The request that ``flow`` carries, as the chain knows it."""
    return _runs.get(flow)


def admit(flow: http.HTTPFlow) -> None:
    """Mark a CONNECT that may go on."""
    _admitted.add(flow)


def is_admitted(flow: http.HTTPFlow) -> bool:
    """Whether a chain lets this CONNECT go on."""
    return flow in _admitted


def begin(flow: http.HTTPFlow, run: Run) -> Run:
    """Bind ``run`` to ``flow`` for as long as that lives."""
    _runs[flow] = run
    return run


def forget(flow: http.HTTPFlow) -> None:
    """Let go of what ``flow`` carried: mitmproxy keeps a flow until its next collection."""
    _runs.pop(flow, None)
    if flow.response and callable(flow.response.stream):
        flow.response.stream = True


def open_turns() -> list[OpenTurn]:
    """The turns that have begun and not ended."""
    return [run for run in _runs.values() if run.intake and run.decision and not run.over]  # type: ignore[misc]


def owned_by(owner: object) -> bool:
    """Whether a request of this runner is still under way."""
    return any(run.owner is owner and not run.over for run in _runs.values())


def with_body(access: Access, request: http.Request) -> Access:
    """``access`` of a request whose body has come."""
    body, received = request.raw_content or b"", request.timestamp_end or time.time()
    value = msgspec.structs.replace(access.request, body=body, received=received)
    return msgspec.structs.replace(access, request=value)
