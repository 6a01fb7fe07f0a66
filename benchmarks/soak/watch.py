"""What is seen of a chain while it is soaked: its memory, its files, its health."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec
import zstandard

from benchmarks.soak.chain import Soaked
from shim.record.files import PACKED
from shim.record.journal import NAME

_EVERY = 1.0
_MB = 1 << 20


class Sample(msgspec.Struct):
    """One look; memory and files in MB."""

    hours: float
    proxy: float
    recorder: float
    plain: float
    packed: float
    files: int
    segments: int
    status: str


@dataclass
class Watch:
    """``sizes`` has each flow file that was ever seen: its bytes, and those of it packed."""

    chain: Soaked
    records: Path
    samples: list[Sample] = field(default_factory=list)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    async def run(self, over: Callable[[], bool]) -> None:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            while not over():
                await self.look(client)
                await asyncio.sleep(_EVERY)

    async def look(self, client: httpx.AsyncClient) -> None:
        try:
            got = await client.get(f"http://127.0.0.1:{self.chain.port}/health")
            status = got.json()["status"]
        except (httpx.HTTPError, ValueError) as e:
            status = repr(e)
        plain = packed = files = 0
        for path in [*self.records.glob("*.flow"), *self.records.glob(f"*.flow{PACKED}")]:
            # Files are packed and dropped meanwhile.
            with suppress(OSError):
                size, files = path.stat().st_size, files + 1
                name = path.name.removesuffix(PACKED)
                if path.suffix == PACKED:
                    packed += size
                    with path.open("rb") as file:
                        whole = zstandard.frame_content_size(file.read(32))
                    self.sizes[name] = (whole, size)
                else:
                    plain += size
                    self.sizes[name] = (size, self.sizes.get(name, (0, 0))[1])
        sample = Sample(
            self.chain.hours(), *self.chain.memory(), plain / _MB, packed / _MB, files, 0, status
        )
        sample.segments = self.segments()
        self.samples.append(sample)

    def segments(self) -> int:
        """Segments of the journal."""
        try:
            file = sqlite3.connect(f"file:{self.records / NAME}?mode=ro", uri=True)
        except sqlite3.Error:
            return 0
        try:
            return int(file.execute("SELECT count(*) FROM segment").fetchone()[0])
        except sqlite3.Error:
            return 0
        finally:
            file.close()

    def quarter(self, number: int, what: str) -> float:
        """The median of a figure in the ``number``-th quarter of the time."""
        size = max(1, len(self.samples) // 4)
        kept = self.samples[(number - 1) * size : number * size]
        return statistics.median(getattr(sample, what) for sample in kept)

    def growth(self, what: str) -> float:
        """The last quarter's median as a multiple of the second one's."""
        return self.quarter(4, what) / max(1e-9, self.quarter(2, what))

    def peak(self, what: str) -> float:
        return max(getattr(sample, what) for sample in self.samples)

    def packs(self) -> tuple[int, int]:
        """Bytes of the files that were packed, before and after."""
        found = [pair for pair in self.sizes.values() if pair[1]]
        return sum(pair[0] for pair in found), sum(pair[1] for pair in found)

    def written(self) -> int:
        """Bytes of all flow files there ever were, as they are written."""
        return sum(pair[0] for pair in self.sizes.values())
