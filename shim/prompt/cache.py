"""The provider's prompt cache: how long breakpoints live, and under which key prompts are found.

Sources: the pages on prompt caching of Anthropic (breakpoints, 5 minutes or an hour, at most four)
and of OpenAI (``prompt_cache_key``).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Literal

import msgspec

from ..client import Facts
from ..policy.rules import Cache
from ..turn import Turn, is_absent
from ..wire.protocols import Caching

Life = Literal["5m", "1h"]

_SHORT, _LONG = 300.0, 3600.0
#: Shares of the price of input: writing for an hour costs more than for five minutes by the first,
#: writing again what could have been read by the second.
_DEARER = 2.0 - 1.25
_AGAIN = 1.25 - 0.1
_MOST_THREADS = 4096


class _Thread(msgspec.Struct):
    first: int
    last: float
    turns: int = 0
    pauses: int = 0


class Caches:
    """What is known of the threads under way; in memory only. ``now`` is in seconds since 1970."""

    def __init__(self) -> None:
        self._threads: OrderedDict[str, _Thread] = OrderedDict()

    def caching(self, rules: Cache, facts: Facts, turn: Turn, now: float) -> Caching:
        """How ``turn`` is to be cached."""
        life = self._life(facts.thread, len(turn.body), now) if rules.ttl == "auto" else rules.ttl
        key = None
        if rules.key != "never":
            # A compaction offers no tools, so it begins otherwise than its thread.
            kind = b"tools" if _offers(turn) else b""
            mark = hashlib.blake2b(facts.thread.encode() + b"\0" + kind, digest_size=16)
            key = f"interpose-{mark.hexdigest()}"
        return Caching(life if rules.breakpoints else None, key, rules.key == "always")

    def _life(self, thread: str, long: int, now: float) -> Life:
        """An hour where the pauses seen so far, should they go on like this, cost more to write
        after again than the longer life costs."""
        seen = self._threads.get(thread)
        if seen is None:
            seen = self._threads[thread] = _Thread(long, now)
            if len(self._threads) > _MOST_THREADS:
                self._threads.popitem(last=False)
        self._threads.move_to_end(thread)
        seen.turns += 1
        if _SHORT < now - seen.last <= _LONG:
            seen.pauses += 1
        seen.last = now
        grown = max(0, long - seen.first)
        return "1h" if seen.pauses * _AGAIN * long > _DEARER * (long + grown) else "5m"


def _offers(turn: Turn) -> bool:
    """Whether there are tools: the codec will say what is wrong with them."""
    raw = turn.fields.get("tools", msgspec.Raw())
    return not is_absent(raw) and bytes(raw) != b"[]"
