"""Limits: what was used, by whom, and what happens when it is too much.

Counters live in the store, so that several chains over one file count together. Store calls may
take a millisecond; turns of a policy without limits make none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from ..policy.rules import Limit
from ..policy.schema import Price
from ..policy.units import amount
from ..state.store import Store
from ..turn import Usage
from .price import cost

#: A session's counter ends when nothing was added for so long.
_SESSION = 30 * 86_400.0
_EVER = 4e9


class Who(msgspec.Struct, frozen=True):
    """On whose account a turn goes; ``key`` is a digest of the client's key."""

    session: str = ""
    key: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """A limit that is reached. ``delay`` is how long until it is not, in seconds, where that is
    soon enough to wait for."""

    label: str
    state: Literal["warn", "cheaper", "refuse"]
    sentence: str
    to: str | None = None
    delay: float | None = None


class Limits:
    """The limits of one policy; ``now`` is in seconds since 1970 everywhere."""

    def __init__(self, limits: Sequence[Limit], store: Store) -> None:
        self._limits = [_Ready(n, limit) for n, limit in enumerate(limits)]
        self._store = store

    def before(self, who: Who, now: float) -> list[Verdict]:
        """The limits that are reached, and one more turn on the counters of turns."""
        found = []
        for limit in self._limits:
            key, until = limit.counter(who, now)
            if limit.turns:
                total = self._store.add(key, 1, until, now) - 1
            else:
                total = self._store.total(key, now)
            if total >= limit.most:
                found.append(limit.verdict(total, until, now))
        return found

    def after(self, who: Who, usage: Usage, price: Price | None, now: float) -> None:
        """Add what a turn has used."""
        for limit in self._limits:
            used = limit.used(usage, price)
            if used:
                key, until = limit.counter(who, now)
                self._store.add(key, used, until, now)


class _Ready:
    """One limit, ready to be used."""

    def __init__(self, number: int, limit: Limit) -> None:
        self.limit = limit
        self.label = limit.name or f"limits[{number}]"
        self.turns = limit.requests_per_minute is not None
        self._per = [limit.per] if isinstance(limit.per, str) else list(limit.per)
        if limit.tokens is not None:
            self.most = float(amount(limit.tokens))
        else:
            self.most = float(limit.money or limit.requests_per_minute or 0)

    def counter(self, who: Who, now: float) -> tuple[str, float]:
        """The counter's key, and when it ends."""
        parts, until = ["limit", self.label, self._unit], _EVER
        if "session" in self._per:
            parts.append(f"session {who.session}")
            until = now + _SESSION
        if "key" in self._per:
            parts.append(f"key {who.key}")
        if "day" in self._per:
            day = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
            parts.append(f"day {day:%Y-%m-%d}")
            until = (day + timedelta(days=1)).timestamp()
        if self.turns:
            minute = int(now // 60)
            parts.append(f"minute {minute}")
            until = (minute + 1) * 60.0
        return "|".join(parts), until

    @property
    def _unit(self) -> str:
        limit = self.limit
        return "tokens" if limit.tokens is not None else "money" if limit.money else "turns"

    def used(self, usage: Usage, price: Price | None) -> float:
        """What a turn's ``usage`` adds."""
        if self.limit.tokens is not None:
            return float(usage.input + usage.output)
        if self.limit.money is not None and price is not None:
            return cost(usage, price)
        return 0.0

    def verdict(self, total: float, until: float, now: float) -> Verdict:
        """What is said and done at the limit."""
        limit, soon = self.limit, self.turns or "day" in self._per
        per = " and ".join(self._per) or "everything together"
        of = f"for each {per}" if self._per else f"for {per}"
        amounts = {
            "tokens": f"{total:,.0f} of {self.most:,.0f} tokens",
            "money": f"${total:.2f} of ${self.most:.2f}",
            "turns": f"{self.most:.0f} requests in this minute",
        }[self._unit]
        ends = f"; until {datetime.fromtimestamp(until):%H:%M}" if soon and not self.turns else ""
        told = f"{limit.message} " if limit.message else ""
        sentence = f"{told}The limit {self.label} is used up: {amounts}, {of}{ends}."
        delay = max(1.0, until - now) if self.turns else None
        return Verdict(self.label, limit.then, sentence, limit.to, delay)
