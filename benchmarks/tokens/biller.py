"""What a provider bills for a prompt: both kinds of prompt cache, with their rules.

*Automatic* (OpenAI's, DeepSeek's and the like): the longest beginning that an earlier prompt of the
last five minutes had too counts as cached, in steps of 128 tokens, from 1,024 tokens on.

*Breakpoints* (Anthropic's): only what ends at a block marked ``cache_control`` is written, at 1.25
times the price of input for five minutes or at 2 times for an hour, from 1,024 tokens on. A prompt
reads the longest beginning that was written, looked for at each of its marks and at the 20 blocks
before it; blocks must be the same byte for byte, but for the marks. Reading renews what is read.
At most four marks.

Sources: the two providers' pages on prompt caching. Tokens are o200k_base's (rs-bpe) for both, or
bytes by 3.6 where that package cannot be had; the report says which.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

MINIMUM = 1024
STEP = 128
LOOK_BACK = 20
LIVES = {"5m": 300.0, "1h": 3600.0}
WRITES = {"5m": 1.25, "1h": 2.0}
MOST_MARKS = 4


class TooManyMarks(ValueError):
    """More breakpoints than the API takes."""


class Tokens:
    """Counts tokens; a text that was counted before costs nothing."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}
        try:
            from rs_bpe.bpe import openai  # type: ignore[import-not-found]

            self._count = openai.o200k_base().count
            self.name = "o200k_base"
        except ImportError:
            self._count = lambda text: round(len(text.encode()) / 3.6)
            self.name = "bytes / 3.6"

    def __call__(self, data: bytes) -> int:
        key = hashlib.blake2b(data, digest_size=12).digest()
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._count(data.decode("utf-8", "replace"))
        return found


@dataclass(frozen=True)
class Block:
    """A part of a prompt: ``data`` as it was sent, which must match to be found in the cache,
    ``text`` as a model reads it, which is counted, ``mark`` the life its breakpoint asks for."""

    data: bytes
    text: bytes
    mark: str | None = None


@dataclass(frozen=True)
class Bill:
    """Input tokens of one prompt; ``written`` by life. ``total`` is all of them."""

    total: int
    read: int = 0
    written: dict[str, int] = field(default_factory=dict)

    @property
    def plain(self) -> int:
        """Neither read from the cache nor written to it."""
        return self.total - self.read - sum(self.written.values())

    def equivalent(self, r: float) -> float:
        """In tokens at the full price, where a cached one costs ``r`` of it."""
        writes = sum(WRITES[life] * n for life, n in self.written.items())
        return self.plain + writes + r * self.read


class Biller:
    """One session's cache; ``now`` is in seconds."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._seen: list[tuple[float, list[Block]]] = []
        self._written: dict[bytes, tuple[float, str]] = {}

    def automatic(self, blocks: list[Block], now: float) -> Bill:
        """The bill where the provider caches by itself."""
        total = sum(self._tokens(b.text) for b in blocks)
        alive = [(when, seen) for when, seen in self._seen if now - when <= LIVES["5m"]]
        common = max((self._common(seen, blocks) for _, seen in alive), default=0)
        read = common // STEP * STEP if common >= MINIMUM else 0
        self._seen = [*alive, (now, blocks)][-8:]
        return Bill(total, min(read, total))

    def _common(self, seen: list[Block], blocks: list[Block]) -> int:
        same = 0
        for before, block in zip(seen, blocks, strict=False):
            if before.text != block.text:
                shared = _shared(before.text, block.text)
                return same + self._tokens(shared)
            same += self._tokens(block.text)
        return same

    def marked(self, blocks: list[Block], now: float) -> Bill:
        """The bill where breakpoints say what is cached; TooManyMarks over four."""
        marks = [n for n, block in enumerate(blocks) if block.mark]
        if len(marks) > MOST_MARKS:
            raise TooManyMarks(f"A maximum of 4 blocks with cache_control, found {len(marks)}.")
        sizes, hashes = [0], [b""]
        for block in blocks:
            sizes.append(sizes[-1] + self._tokens(block.text))
            hashes.append(hashlib.blake2b(hashes[-1] + block.data, digest_size=16).digest())
        read = 0
        for mark in reversed(marks):
            for end in range(mark + 1, max(0, mark - LOOK_BACK), -1):
                until, life = self._written.get(hashes[end], (0.0, ""))
                if until > now and sizes[end] > read:
                    read = sizes[end]
                    self._written[hashes[end]] = (now + LIVES[life], life)
                    break
        written: dict[str, int] = {}
        done = read
        for mark in marks:
            end, life = mark + 1, blocks[mark].mark or "5m"
            if sizes[end] < MINIMUM:
                continue
            if sizes[end] > done:
                written[life] = written.get(life, 0) + sizes[end] - done
                done = sizes[end]
            former = self._written.get(hashes[end], (0.0, life))
            self._written[hashes[end]] = (max(former[0], now + LIVES[life]), life)
        return Bill(sizes[-1], read, written)


def _shared(a: bytes, b: bytes) -> bytes:
    """What both begin with."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[:middle] == b[:middle] else (low, middle - 1)
    return a[:low]
