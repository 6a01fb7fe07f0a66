"""``python -m benchmarks.bombs``: what a body that unpacks to 1 GiB, or never ends, costs the
chain, and twenty streams beside it.

For each encoding, as a request and as an answer: the time until it is refused against the time in
which as much as ``body_limit`` is unpacked in this process, how much the chain's memory grows, and
the 99th percentile of the pauses in twenty paced streams against the same without it, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import statistics
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import brotli
import zstandard

from . import usage
from .systems import Chain, Direct, System, ready

LIMIT = 64 << 20
BOMB = 1 << 30
STREAMS, ROUNDS, SECONDS = 20, 3, 2.0
_PIECE = b"x" * (1 << 20)
_BEGIN, _END = b'{"model":"bomb","input":"', b'"}'
_ANSWER = b'{"choices":[{"message":{"content":"'
_PACED = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    b"content-length: 71\r\n\r\n"
    b'{"model":"m","stream":true,"messages":[{"role":"user","content":"go"}]}'
)


def bomb(begin: bytes, coder: Any) -> bytes:
    """1 GiB behind ``begin``, as ``coder`` packs it."""
    parts = [coder.compress(begin)]
    parts += [coder.compress(_PIECE) for _ in range(BOMB // len(_PIECE))]
    return b"".join([*parts, coder.compress(_END), coder.flush()])


class _Brotli:
    def __init__(self) -> None:
        self._coder = brotli.Compressor(quality=1)

    def compress(self, data: bytes) -> bytes:
        return bytes(self._coder.process(data))

    def flush(self) -> bytes:
        return bytes(self._coder.finish())


PACKED: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.compressobj(9, wbits=31),
    "deflate": lambda: zlib.compressobj(9),
    "br": _Brotli,
    "zstd": lambda: zstandard.ZstdCompressor().compressobj(),
}
UNPACKED: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31).decompress,
    "deflate": lambda: zlib.decompressobj().decompress,
    "br": lambda: brotli.Decompressor().process,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
}


def seconds_to_unpack(name: str, data: bytes) -> float:
    """How long the limit takes to unpack here."""
    coding, _, twice = name.partition(" ")
    if twice:
        data = gzip.decompress(data)
    unpack, size, begun = UNPACKED[coding](), 0, time.perf_counter()
    for at in range(0, len(data), 256):
        size += len(unpack(data[at : at + 256]))
        if size >= LIMIT:
            break
    return time.perf_counter() - begun


class Bombed(Chain):
    """A chain whose one provider answers at a model's pace, and the other one with bombs."""

    def __init__(self, upstream: int, bombs: int) -> None:
        super().__init__(upstream)
        self._bombs = bombs

    def command(self) -> list[str]:
        words = super().command()
        up = f"base_url: 'http://127.0.0.1:{self.upstream}/tokens/v1', key: k"
        bombs = f"base_url: 'http://127.0.0.1:{self._bombs}/v1', key: k, "
        bombs += "health: { failures: 100000 }"
        (self.folder / "policy.yaml").write_text(
            f"providers: {{ up: {{ {up} }}, bombs: {{ {bombs} }} }}\n"
            "models: { m: { provider: up }, bomb: { provider: bombs } }\n"
        )
        return words


class Bombs:
    """An upstream that answers with what it is told, as it is encoded."""

    def __init__(self) -> None:
        self.says: tuple[str, Callable[[], Iterator[bytes]]] = ("", lambda: iter(()))
        self.port = 0

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            coding, pieces = self.says
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            writer.write(_field(coding) + b"transfer-encoding: chunked\r\n\r\n")
            await _send(writer, pieces())
        writer.close()


def _field(coding: str) -> bytes:
    return f"content-encoding: {coding}\r\n".encode() if coding else b""


async def _send(writer: asyncio.StreamWriter, pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def refused(port: int, coding: str, pieces: Iterator[bytes]) -> float:
    """Seconds until a turn with that body is refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n")
    writer.write(b"content-type: application/json\r\n" + _field(coding))
    writer.write(b"transfer-encoding: chunked\r\n\r\n")
    begun = time.perf_counter()
    sending = asyncio.create_task(_send(writer, pieces))
    try:
        said = await reader.readuntil(b"\r\n\r\n")
        spent = time.perf_counter() - begun
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await sending
        writer.close()
    assert said.split()[1] in (b"413", b"502"), said[:200]
    return spent


async def paced(port: int, pauses: list[float]) -> None:
    """A stream after another; the pauses between what comes of each."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(_PACED)
            await reader.readuntil(b"\r\n\r\n")
            last = time.perf_counter()
            while not (data := await reader.read(1 << 16)).endswith(b"0\r\n\r\n"):
                assert data, "a stream broke off"
                now = time.perf_counter()
                pauses.append(now - last)
                last = now
        finally:
            writer.close()


def endless() -> Iterator[bytes]:
    yield _BEGIN
    while True:
        yield _PIECE


async def measure(system: System, bombs: Bombs, name: str, packed: bytes, way: str) -> list[str]:
    """A row: the case, times, memory, pauses."""
    coding = {"none, without end": "", "gzip twice": "gzip, gzip"}.get(name, name)

    def pieces() -> Iterator[bytes]:
        return iter([packed]) if packed else endless()

    async def once() -> float:
        if way == "answer":
            bombs.says = (coding, pieces)
            small = iter([b'{"model":"bomb","messages":[{"role":"user","content":"go"}]}'])
            return await refused(system.port, "", small)
        return await refused(system.port, coding, pieces())

    await once()
    await asyncio.sleep(0.5)
    before = sum(map(usage.resident, system.processes()))
    for process in system.processes():
        Path(f"/proc/{process}/clear_refs").write_text("5")
    spent = [await once() for _ in range(5)]
    grown = system.peak() - before
    ratios = []
    for _ in range(ROUNDS):
        quiet: list[float] = []
        loud: list[float] = []
        for pauses, beside in ((quiet, False), (loud, True)):
            streams = [asyncio.create_task(paced(system.port, pauses)) for _ in range(STREAMS)]
            await asyncio.sleep(0.7)
            pauses.clear()
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                await (once() if beside else asyncio.sleep(0.05))
            for stream in streams:
                stream.cancel()
            for done in await asyncio.gather(*streams, return_exceptions=True):
                assert isinstance(done, asyncio.CancelledError), done
        ratios.append(_p99(loud) / _p99(quiet))
    unpacks = [seconds_to_unpack(name, packed) for _ in range(5)] if packed else []
    ratio = statistics.median(spent) / statistics.median(unpacks) if unpacks else 0.0
    row = [name, way, f"{ratio:.2f}" if ratio else "–", f"{grown / (LIMIT >> 20):.2f}"]
    return [*row, f"{statistics.median(ratios):.2f}"]


def _p99(pauses: list[float]) -> float:
    return statistics.quantiles(pauses, n=100)[98]


async def run(names: list[str]) -> list[list[str]]:
    bombs, rows = Bombs(), []
    with contextlib.ExitStack() as stack:
        async with bombs.serve():
            upstream = stack.enter_context(Direct(0))
            system = stack.enter_context(Bombed(upstream.port, bombs.port))
            await ready(system)
            for way, begin in (("request", _BEGIN), ("answer", _ANSWER)):
                for name in names:
                    coder = PACKED.get(name.partition(" ")[0])
                    packed = bomb(begin, coder()) if coder else b""
                    packed = gzip.compress(packed) if name.endswith("twice") else packed
                    rows.append(await measure(system, bombs, name, packed, way))
                    print("  ".join(f"{cell:>18}" for cell in rows[-1]), flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bombs", description=__doc__)
    names = [*PACKED, "gzip twice", "none, without end"]
    parser.add_argument("--only", choices=names, help="one encoding alone")
    args = parser.parse_args()
    head = ("encoding", "as", "time ÷ unpacking", "memory ÷ limit", "pauses, p99 ÷")
    print("  ".join(f"{cell:>18}" for cell in head))
    rows = asyncio.run(run([args.only] if args.only else names))
    return int(any(float(cell) > 2 for row in rows for cell in row[2:] if cell != "–"))


if __name__ == "__main__":
    sys.exit(main())
