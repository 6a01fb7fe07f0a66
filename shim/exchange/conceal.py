"""What no client is told: keys of the policy that an upstream repeats in its answer.

Heads and errors are searched for all of them, in every way of writing. What a model says is
searched only for keys that look made at random, as they stand, so that an answer about a word that
somebody took for a key (``key: lmstudio-local``) stays whole.
"""

from __future__ import annotations

from ..record.redact import Redactor, redactor
from ..route.keys import telling
from .values import Decision, Fields, Intake


def hidden_from_client(intake: Intake, decision: Decision) -> frozenset[str]:
    """The keys that the client of a turn must not see: all but its own."""
    routing = decision.routing
    keys = intake.keys | routing.secrets if routing else intake.keys
    # A login that the client itself has sent is passed on, and may come back.
    return keys - (intake.secrets - intake.keys)


def concealed_fields(fields: Fields, keys: frozenset[str]) -> Fields:
    """The fields of a head without ``keys`` in their values."""
    hide = redactor(keys).deep
    return tuple((name, hide(value)) for name, value in fields)


def concealed_body(body: bytes, status: int, keys: frozenset[str]) -> bytes:
    """A whole answer without ``keys``; the same object where it holds none."""
    if status >= 400:
        return redactor(keys).deep(body)
    return redactor(telling(keys)).data(body)


class ConcealedStream:
    """A stream without ``keys``, also where one is cut by the pieces in which it comes. A key that
    a model spells in several events is not known for one."""

    def __init__(self, keys: frozenset[str]) -> None:
        self._redact: Redactor = redactor(telling(keys))
        self._forms = self._redact.forms
        self._longest = max(map(len, self._forms), default=0)
        self._rest = b""

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """What may leave; the beginning of a key waits for the next piece, or for the ``last``."""
        if not self._forms:
            return data
        if self._rest:
            data, self._rest = self._rest + data, b""
        data = self._redact.data(data)
        if last:
            return data
        if at := self._begins(data):
            data, self._rest = data[:-at], data[-at:]
        return data

    def _begins(self, data: bytes) -> int:
        """How many bytes at the end of ``data`` may be the beginning of a key."""
        # No form of a key goes over a line's end, where events end.
        tail = data[data.rfind(b"\n", -self._longest) + 1 :][1 - self._longest :]
        for at in range(len(tail)):
            if any(form.startswith(tail[at:]) for form in self._forms):
                return len(tail) - at
        return 0
