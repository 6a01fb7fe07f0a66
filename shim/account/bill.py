"""Billed-equivalent tokens: what a turn costs, in input tokens at the full price.

``uncached + 1.25 · written for 5 minutes + 2 · written for an hour + r · read``. Output is told
beside it, and is in the sum where its price is known. Sources: the providers' price lists.
"""

from __future__ import annotations

import msgspec

from ..policy.schema import Price
from ..route.choose import Route
from ..route.price import cost
from ..turn import Usage
from ..wire.quirks import quirks

WRITE, WRITE_LONG = 1.25, 2.0
#: What a cached token costs where nothing else is known, as a share of the full price.
READ = {"messages": 0.1, "responses": 0.25, "chat": 0.25}


class Rates(msgspec.Struct, frozen=True):
    """Prices as shares of that of input; ``output`` is None where it is not known."""

    read: float
    write: float = 1.0
    write_long: float = 1.0
    output: float | None = None

    def input(self, usage: Usage) -> float:
        """The billed-equivalent input of one turn."""
        short = usage.cache_write - usage.cache_write_long
        plain = usage.input - usage.cached - usage.cache_write
        written = self.write * short + self.write_long * usage.cache_write_long
        return max(0, plain) + written + self.read * usage.cached


def rates(route: Route | None, price: Price | None) -> Rates:
    """The rates of a route, by the policy's prices, else by the provider's family."""
    if price and price.input:
        read = 1.0 if price.cached is None else price.cached / price.input
        write = 1.0 if price.cache_write is None else price.cache_write / price.input
        long = write * WRITE_LONG / WRITE if price.cache_write is not None else write
        return Rates(read, write, long, price.output / price.input)
    protocol = route.protocol if route else "chat"
    share = quirks(route.base_url if route else None).cached
    return Rates(READ[protocol] if share is None else share, WRITE, WRITE_LONG)


class Account(msgspec.Struct, frozen=True):
    """One turn in numbers, all tokens but ``dollars``.

    ``saved``: what dedup left out, and ``spared`` what that would have been billed as;
    ``billed`` the billed-equivalent input at ``read`` per cached token; ``counted_by`` who counted
    the input: the upstream, a tokenizer, or its size alone.
    """

    input: int
    cached: int
    written: int
    output: int
    saved: int
    spared: float
    billed: float
    read: float
    dollars: float | None
    counted_by: str


class Sent(msgspec.Struct, frozen=True):
    """What went upstream, in characters: in all, and what dedup had left out, in all and anew."""

    long: int
    saved: int = 0
    saved_anew: int = 0


def account(
    usage: Usage, counted_by: str, route: Route | None, price: Price | None, sent: Sent
) -> Account:
    """One turn's account. What was left out is reckoned at the turn's own characters per token."""
    at = rates(route, price)
    per = usage.input / sent.long if sent.long else 0.0
    anew, before = sent.saved_anew * per, (sent.saved - sent.saved_anew) * per
    first = at.write if usage.cache_write else 1.0
    again = at.read if usage.cached else 1.0
    return Account(
        usage.input,
        usage.cached,
        usage.cache_write,
        usage.output,
        round(sent.saved * per),
        round(anew * first + before * again, 1),
        round(at.input(usage), 1),
        round(at.read, 4),
        round(cost(usage, price), 6) if price else None,
        counted_by,
    )
