"""What logged sessions cost, and what they would have cost under a policy.

The provider's own counts are taken where the log has them; where it has none, what a turn repeats
of the last one within five minutes counts as cached. What a policy leaves out is counted by a
tokenizer, or by its size. Nothing is sent anywhere.
"""

from __future__ import annotations

import msgspec

from ..client import Facts
from ..logs import LoggedTurn, Session
from ..policy.inforce import InForce
from ..prompt.edit import Editors
from ..turn import Usage, WireError
from ..wire.protocols import codec
from .bill import READ, WRITE, WRITE_LONG, Rates
from .tokens import tokenizer

_LIFE = 300.0
#: So many characters of a session are counted to know how many make a token in it.
_SAMPLE = 200_000


class Cost(msgspec.Struct):
    """One session (or several): tokens, and billed-equivalents ``was`` and ``would``.

    ``measured`` of its ``turns`` have the provider's own counts; ``failed``: turns that could not
    be read.
    """

    name: str
    client: str = ""
    turns: int = 0
    measured: int = 0
    failed: int = 0
    input: float = 0.0
    cached: float = 0.0
    saved: float = 0.0
    was: float = 0.0
    would: float = 0.0

    @property
    def times(self) -> float:
        """How many times less it would have cost."""
        return self.was / self.would if self.would else 1.0

    def add(self, other: Cost) -> None:
        """Count ``other`` in."""
        for name in ("turns", "measured", "failed", "input", "cached", "saved", "was", "would"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def cost(session: Session, policy: InForce, read: float | None = None) -> Cost:
    """What ``session`` cost; ``read`` is the share of the price that a cached token costs."""
    share = READ[session.protocol] if read is None else read
    writes = session.protocol == "messages"
    rates = Rates(share, WRITE if writes else 1.0, WRITE_LONG if writes else 1.0)
    made = Cost(session.name, session.client)
    marks = writes and bool(policy.policy.cache and policy.policy.cache.breakpoints)
    editors, facts = Editors(), Facts(client=session.client, thread=session.name)
    per, before = 0.0, _Last()
    for logged in session.turns:
        try:
            turn = codec(session.protocol).read_request(logged.body)
            done = editors.edit(turn, policy.catch, facts, None, policy.policy.dedup)
        except WireError:
            made.failed += 1
            continue
        per = per or _tokens_per_character(logged.body)
        size, left = len(turn.body) * per, (len(turn.body) - len(done.turn.body)) * per
        usage = logged.usage or _guessed(size, logged, before)
        made.turns += 1
        made.measured += logged.usage is not None
        made.input += usage.input
        made.cached += usage.cached
        made.saved += left
        made.was += rates.input(usage)
        made.would += rates.input(_without(usage, left, before, logged, marks=marks))
        before = _Last(usage.input, left, logged.when)
    return made


class _Last(msgspec.Struct, frozen=True):
    """The turn before: its input, what was left out of it, and when it was."""

    input: float = 0.0
    left: float = 0.0
    when: float | None = None


def _without(usage: Usage, left: float, before: _Last, logged: LoggedTurn, *, marks: bool) -> Usage:
    """The counts of a turn of which so many tokens are left out."""
    old = min(left, before.left)
    whole = max(0.0, usage.input - left)
    if marks and not usage.cached and not usage.cache_write:
        # A client that marked nothing: every turn reads what the last one wrote.
        read = min(whole, before.input - before.left) if _alive(before, logged) else 0.0
        return Usage(round(whole), round(read), round(whole - read))
    hit = min(1.0, usage.cached / before.input) if before.input else 0.0
    anew = left - old * hit
    written = max(0.0, usage.cache_write - anew) if usage.cache_write else 0.0
    cached = max(0.0, usage.cached - old * hit)
    long = usage.cache_write_long / usage.cache_write if usage.cache_write else 0.0
    return Usage(
        round(whole), round(cached), round(written), cache_write_long=round(written * long)
    )


def _guessed(size: float, logged: LoggedTurn, before: _Last) -> Usage:
    read = min(size, before.input) if _alive(before, logged) else 0.0
    return Usage(round(size), round(read))


def _alive(before: _Last, logged: LoggedTurn) -> bool:
    if logged.when is None or before.when is None:
        return before.input > 0
    return logged.when - before.when <= _LIFE


def _tokens_per_character(body: bytes) -> float:
    text = body[:_SAMPLE].decode("utf-8", "ignore")
    return tokenizer()[1](text) / max(1, len(text))
