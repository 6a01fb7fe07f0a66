"""What no client is told: keys of the policy that an upstream repeats in its answer.

Heads and errors are searched for all of them, in every way of writing. What a model says is
searched only for keys that look made at random, as they stand, so that an answer about a word that
somebody took for a key (``key: lmstudio-local``) stays whole.
"""

from __future__ import annotations

from functools import lru_cache

from ..record.redact import MARK, Redactor, redactor
from ..route.keys import telling
from ..wire.spelled import Spelled
from ..wire.unmask import UnmaskStream
from .values import Decision, Fields, Intake

_ENDS = (b"\n\n", b"\r\n\r\n")


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
    """A stream in a client's ``protocol`` without ``keys``, also where a model spells one in
    several events of four characters or more."""

    def __init__(self, protocol: str, keys: frozenset[str]) -> None:
        self._redact, self._spelled, self._words = _searched(keys)
        self._stream = UnmaskStream(protocol, self._spelled)

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """What may leave; the beginning of a key waits for the next event, or for the ``last``."""
        if not self._words:
            return data
        if data.endswith(_ENDS) and not last and not self._stream.holds:
            # Most events hold nothing, one look each.
            for word in self._words:
                if word in data:
                    break
            else:
                return data
        data = self._stream.feed(data)
        if last:
            data += self._stream.close()
        return self._redact.data(data)


@lru_cache(maxsize=64)
def _searched(keys: frozenset[str]) -> tuple[Redactor, Spelled, tuple[bytes, ...]]:
    """What takes ``keys`` out of streams, and what no event lacks that may hold one."""
    told = telling(keys)
    redact, spelled = redactor(told), Spelled(told, MARK)
    begins = tuple(key[:4].encode() for key in told)
    # Other ways of writing them, which begin otherwise.
    others = [form for form in redact.forms if not form.startswith(begins)]
    return redact, spelled, (*spelled.begins, *others)
