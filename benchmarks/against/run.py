"""The measuring: per pair fresh chains of every side, asked the same turns one after the other.

A side is a checkout: this tree, or a commit set up by `benchmarks.commits`. One process differs
from the next by chance (where its memory lies, how its tables hash), so each pair has its own;
pairs are then independent of each other, as the interval of their median demands.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.against.pairs import order
from benchmarks.bodies import body
from benchmarks.load import BadAnswer, Sample, one
from benchmarks.systems import (
    DIRECTIONS,
    PATHS,
    Chain,
    Direct,
    System,
    Unavailable,
    ready,
    settle,
)

#: What is measured of a side in a pair: milliseconds to the first delta and to the end, median of
#: the pair's turns; milliseconds of CPU per turn, of the proxy's process and of its recorder's.
FIGURES = ("first", "total", "proxy", "recorder")
THIS = "this tree"
#: Turns of a size that nobody counts: what is loaded or allocated once is no turn's cost.
_WARM = 2
_PATIENCE = 20.0
#: Seconds without work that end a chain's turns: it gathers what it writes for a tenth of one.
_QUIET = 0.25

#: Figures of sizes of sides: {size: {side: {figure: value}}}.
Pair = dict[int, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Side:
    """A checkout under the name that the tables give it."""

    name: str
    root: Path


class Failed(Exception):
    """A side that does not start or does not answer, and why, in a sentence."""

    def __init__(self, side: Side, what: str, error: Exception) -> None:
        # A chain's log or answer ends with what matters.
        reason = next(reversed(str(error).strip().splitlines()), type(error).__name__)
        super().__init__(f"{side.name} {what}: {reason[-300:]}")
        self.side = side


class Meter:
    """A chain, and the CPU that it had used when its turns were last counted."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.used = self._read()

    def ask(self, bodies: Sequence[bytes]) -> Part:
        """Ask the chain while it has nothing else to do, and wait until it has done all of it.

        What it does still later is counted with its next turns.
        """
        samples = _ask(self.chain, bodies)
        settle(self.chain, quiet=_QUIET)
        before, self.used = self.used, self._read()
        proxy, recorder = (now - then for now, then in zip(self.used, before, strict=True))
        return Part(samples, proxy, recorder)

    def _read(self) -> tuple[float, float]:
        """CPU seconds of the proxy's process, and of the recorder beside it."""
        own = self.chain.cpu(own=True)
        return own, self.chain.cpu() - own


@dataclass(frozen=True)
class Part:
    """Turns of a chain, and the CPU seconds of its two processes for them."""

    samples: list[Sample]
    proxy: float
    recorder: float


def figures(parts: Sequence[Part]) -> dict[str, float]:
    """By the names in FIGURES, of all turns of a side in a pair."""
    samples = [sample for part in parts for sample in part.samples]
    per = 1e3 / len(samples)
    return {
        "first": statistics.median(sample.first for sample in samples),
        "total": statistics.median(sample.total for sample in samples),
        "proxy": sum(part.proxy for part in parts) * per,
        "recorder": sum(part.recorder for part in parts) * per,
    }


def run(
    sides: Sequence[Side],
    directions: Sequence[str],
    sizes: Sequence[int],
    pairs: int,
    tick: Callable[[str], None],
) -> dict[str, Any]:
    """Figures of all ``pairs``, per direction and size; Failed when ``sides[0]`` does not answer.

    ``tick`` is called with the direction after every pair. A side that fails has no figures in the
    direction it fails in, and its sentence in "unavailable".
    """
    results: dict[str, Any] = {"pairs": pairs, "cases": [], "unavailable": []}
    with Direct(0) as upstream:
        for direction in directions:
            here = list(sides)
            measured: list[Pair] = []
            while len(measured) < pairs and len(here) > 1:
                try:
                    pair = _pair(here, DIRECTIONS[direction], upstream, sizes, len(measured))
                except Failed as e:
                    if e.side is sides[0]:
                        raise
                    results["unavailable"].append([direction, str(e)])
                    here.remove(e.side)
                    continue
                measured.append(pair)
                tick(direction)
            for size in sizes if len(here) > 1 else ():
                case: dict[str, Any] = {"direction": direction, "size": size}
                case["alone"] = [pair[size][Direct.name]["total"] for pair in measured]
                case["sides"] = {
                    side.name: {f: [pair[size][side.name][f] for pair in measured] for f in FIGURES}
                    for side in here
                }
                results["cases"].append(case)
    return results


def _pair(
    sides: Sequence[Side], kind: type[Chain], upstream: Direct, sizes: Sequence[int], number: int
) -> Pair:
    """One pair, or a round of as many as there are sides."""
    bodies = {size: _bodies(size, number) for size in sizes}
    # What client and stream cost alone, asked as the chains ask it.
    upstream.path = kind.pace + PATHS[kind.protocol]
    pair: Pair = {
        size: {Direct.name: {"total": statistics.median(s.total for s in _ask(upstream, made))}}
        for size, made in bodies.items()
    }
    with ExitStack() as stack:
        chains: list[Chain] = []
        for side in sides:
            chain = kind(upstream.port)
            chain.root = side.root
            stack.callback(chain.__exit__)
            try:
                chain.start()
            except OSError as e:
                raise Failed(side, "cannot be started", e) from None
            chains.append(chain)
        for side, chain in zip(sides, chains, strict=True):
            try:
                chain.wait()
                asyncio.run(ready(chain, _PATIENCE))
            except Unavailable as e:
                raise Failed(side, "cannot be started", e) from None
        try:
            for at in range(len(chains)):
                for made in bodies.values():
                    _ask(chains[at], made[:_WARM])
            for chain in chains:
                settle(chain, quiet=_QUIET)
            meters = [Meter(chain) for chain in chains]
            for size, made in bodies.items():
                parts: list[list[Part]] = [[] for _ in sides]
                for at in order(len(sides), number, size):
                    half = made[_WARM + len(parts[at]) :: 2]
                    parts[at].append(meters[at].ask(half))
                for side, found in zip(sides, parts, strict=True):
                    pair[size][side.name] = figures(found)
        except (BadAnswer, OSError) as e:
            raise Failed(sides[at], "does not answer", e) from None
    return pair


def _bodies(size: int, number: int) -> list[bytes]:
    """The turns of a pair, each another conversation; the first ones are to warm up."""
    seed = size + number * 100
    return [body(size, seed + n) for n in range(_WARM + (16 if size < 1_000_000 else 8))]


def _ask(system: System, bodies: Sequence[bytes]) -> list[Sample]:
    requests = [system.asked(made, system.model) for made in bodies]

    async def ask() -> list[Sample]:
        return [
            await one(system.port, request, system.key, system.path, system.marks)
            for request in requests
        ]

    return asyncio.run(ask())
