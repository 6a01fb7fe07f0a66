"""Which providers are up: after several failures in a row one is left alone for a while.

The breaker of a provider is closed (turns go there), open (they do not), and after the cooldown
half open: one turn tries; its end closes the breaker or opens it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..policy.schema import Health as Settings
from ..policy.units import seconds

#: A turn that tries a provider again has this long to come to an end.
_TRIAL = 120.0
#: How long a provider may ask to be left alone.
_LONGEST = 3600.0


@dataclass
class _Breaker:
    failures: int = 0
    until: float = 0.0
    trial: float = 0.0
    why: str = ""


class Breakers:
    """One breaker per provider."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._of: dict[str, _Breaker] = {}

    def closed(self, provider: str) -> str | None:
        """None when a turn may go to ``provider``, else why not. An allowed trial is the caller's:
        it ends with ``good`` or ``bad``."""
        breaker = self._of.get(provider)
        now = self._clock()
        if breaker is None or not breaker.until:
            return None
        if now < breaker.until:
            return f"left alone for {breaker.until - now:.0f} s more: {breaker.why}"
        if now < breaker.trial:
            return f"another turn is trying whether it is up again: {breaker.why}"
        breaker.trial = now + _TRIAL
        return None

    def good(self, provider: str) -> None:
        """``provider`` answered."""
        self._of.pop(provider, None)

    def bad(self, provider: str, why: str, settings: Settings, delay: float | None = None) -> None:
        """``provider`` failed; ``delay`` is how long it asks to be left alone, in seconds."""
        breaker = self._of.setdefault(provider, _Breaker())
        breaker.failures += 1
        breaker.why = why
        now = self._clock()
        if delay is not None and delay > 0:
            breaker.until = max(breaker.until, now + min(delay, _LONGEST))
        if breaker.failures >= settings.failures or breaker.trial > now:
            breaker.until = max(breaker.until, now + seconds(settings.cooldown))
        breaker.trial = 0.0

    def page(self) -> dict[str, str]:
        """What is not well, for ``/health``."""
        now = self._clock()
        return {
            name: f"{'open' if now < b.until else 'half open'}: {b.why}"
            if b.until
            else f"{b.failures} failed: {b.why}"
            for name, b in self._of.items()
        }
