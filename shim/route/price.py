"""What an answer cost, by its tokens and the policy's prices."""

from __future__ import annotations

from ..policy.schema import Price
from ..turn import Usage


def cost(usage: Usage, price: Price) -> float:
    """Dollars. Input counts as read from the cache, written to it, or neither."""
    plain = max(0, usage.input - usage.cached - usage.cache_write)
    cached = price.input if price.cached is None else price.cached
    written = price.input if price.cache_write is None else price.cache_write
    total = plain * price.input + usage.cached * cached + usage.cache_write * written
    return (total + usage.output * price.output) / 1_000_000
