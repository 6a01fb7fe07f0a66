"""What no client is told: keys of the policy that an upstream repeats in its answer.

Heads and errors are searched for all of them, in every way of writing. What a model says is
searched only for keys that look made at random, as they stand, so that an answer about a word that
somebody took for a key (``key: lmstudio-local``) stays whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import re2

from ..policy.match import pattern_options
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
        self._redact, spelled, self._may_hold = _searched(keys)
        self._stream = UnmaskStream(protocol, spelled)

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """What may leave; the beginning of a key waits for the next event, or for the ``last``."""
        if not self._redact.forms:
            return data
        # Most events hold nothing, one look each.
        whole = data.endswith(_ENDS) and not last and not self._stream.holds
        if whole and not self._may_hold(data):
            return data
        data = self._stream.feed(data)
        if last:
            data += self._stream.close()
        return self._redact.data(data)


@lru_cache(maxsize=64)
def _searched(keys: frozenset[str]) -> tuple[Redactor, Spelled, Callable[[bytes], object]]:
    """What takes ``keys`` out of streams, and what finds nothing in an event without one."""
    told = telling(keys)
    redact, spelled = redactor(told), Spelled(told, MARK)
    begins = tuple(key[:4].encode() for key in told)
    # Other ways of writing them, which begin otherwise.
    others = [form for form in redact.forms if not form.startswith(begins)]
    words = b"|".join(map(re2.escape, (*spelled.begins, *others)))
    # One pass of RE2 for all of them, at a third of the time of a look for each.
    return redact, spelled, re2.compile(words, pattern_options()).search
