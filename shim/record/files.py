"""The files that recordings go to: one that grows, others that are compressed, and how long they
stay. A file holds whole flows only, whatever happens while one is written.
"""

from __future__ import annotations

import mmap
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from ..system import private_folder

PACKED = ".zst"
#: The files that are ours to pack and to drop: those that the chain has named.
_OURS = re.compile(r"\d{8}-\d{6}-(\d+(?:-[0-9a-f]{8})?)(?:-\d+)?\.flow(?:\.zst)?")
_DAY = 86_400.0
_PIECE = 1 << 20
_PROBE = 64 * 1024
#: The history of a session comes again with each turn, megabytes later and packed already: only a
#: search over long distances finds it, in a window that holds the file.
_LEVEL, _WINDOW = 3, 26
#: Up to this size a file is packed where it lies, in half the time.
_MAPPED = 1 << 30
#: Windows makes two bytes of each line end where it is not told to leave them.
_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
#: Seconds between the two clocks from which on the wall clock has been set, not just corrected.
_JUMP = 3600.0


def new_name(pid: int, now: float) -> str:
    """The name of a flow file that nobody else has: in containers over one folder two chains may
    have one ``pid`` and begin in one second. ``now`` in seconds since 1970."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    return f"{stamp}-{pid}-{secrets.token_hex(4)}.flow"


class FlowFiles:
    """Appends to ``path``, and goes on in another file of the folder each day, and where it would
    grow over ``rotate`` bytes. Packed ones are dropped after ``days``, and the oldest when all
    recordings together have more than ``size`` bytes. 0 turns each of these off.
    """

    def __init__(
        self,
        path: Path,
        rotate: int = 0,
        days: float = 0,
        size: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._rotate, self._days, self._size = rotate, days, size
        self._clock = clock
        self._offset = clock() - time.monotonic()
        named = _OURS.fullmatch(path.name)
        self._owner = named[1] if named else f"{os.getpid()}-{secrets.token_hex(4)}"
        #: How long the file is up to the end of its last whole flow; None: not looked at yet.
        self._whole: int | None = None

    def append_all(self, flows: Sequence[bytes]) -> list[Path | OSError]:
        """Append each of ``flows``; the file it is in, or why it is in none."""
        if not (self._rotate and sum(map(len, flows)) > self._rotate):
            with suppress(OSError):
                return [self.append(b"".join(flows))] * len(flows)
        made: list[Path | OSError] = []
        for flow in flows:
            try:
                made.append(self.append(flow))
            except OSError as e:
                made.append(e)
        return made

    def append(self, flows: bytes) -> Path:
        """Put ``flows`` at the end; the file they are in. OSError when they cannot be."""
        self._turn(len(flows))
        descriptor = self._opened()
        try:
            before = self._mend(descriptor)
            try:
                rest = memoryview(flows)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            except OSError:
                # What could not be written whole is not written; where not even that can be done,
                # the next one does it.
                with suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
            self._whole = before + len(flows)
        finally:
            os.close(descriptor)
        return self.path

    def _opened(self) -> int:
        try:
            return os.open(self.path, _APPEND, 0o600)
        except FileNotFoundError:
            private_folder(self.path.parent)
            return os.open(self.path, _APPEND, 0o600)

    def probe(self) -> None:
        """OSError when there is no room for another exchange."""
        private_folder(self.path.parent)
        path = self.path.with_suffix(".probe")
        try:
            with open(path, "wb", opener=_private) as file:
                file.write(bytes(_PROBE))
        finally:
            path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Pack what nobody has written to for a day, drop what is too old or too much."""
        now = self._clock()
        if abs(now - time.monotonic() - self._offset) > _JUMP:
            # By a clock that was set, nothing is as old as it looks.
            return
        kept: list[tuple[float, int, Path]] = []
        try:
            paths = sorted(self.path.parent.iterdir())
        except OSError:
            return
        for path in paths:
            # Another chain may tidy the same folder.
            with suppress(OSError):
                if path.name.endswith(".packing") and _age(path, now) > _DAY:
                    path.unlink(missing_ok=True)
                if not _OURS.fullmatch(path.name) or path == self.path:
                    continue
                if path.suffix != PACKED and _age(path, now) > _DAY:
                    path = pack(path)
                found = path.stat()
                kept.append((found.st_mtime, found.st_size, path))
        self._drop(sorted(kept), now)

    def _drop(self, kept: list[tuple[float, int, Path]], now: float) -> None:
        total = sum(size for _, size, _ in kept) + (self._whole or 0)
        for changed, size, path in kept:
            old = self._days and now - changed > self._days * _DAY
            if not old and not (self._size and total > self._size):
                continue
            if path.suffix != PACKED and now - changed <= _DAY:
                # Somebody may still be writing to it.
                continue
            with suppress(OSError):
                path.unlink()
                total -= size

    def _turn(self, coming: int) -> None:
        """Go on in another file where the day, or the file, is over."""
        named = _OURS.fullmatch(self.path.name)
        today = time.strftime("%Y%m%d", time.localtime(self._clock()))
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            size = 0
        full = self._rotate and size and size + coming > self._rotate
        if not full and (not named or self.path.name.startswith(today)):
            return
        former, self.path = self.path, self._another()
        self._whole = None
        if size:
            self.pack_beside(former)

    def pack_beside(self, path: Path) -> None:
        """Pack ``path``, which is finished, while others are written."""

        def work() -> None:
            with suppress(OSError):
                pack(path)
            self.tidy()

        threading.Thread(target=work, daemon=True).start()

    def _another(self) -> Path:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(self._clock()))
        name, n = f"{stamp}-{self._owner}", 1
        while any((self.path.parent / f"{name}.flow{end}").exists() for end in ("", PACKED)):
            n += 1
            name = f"{stamp}-{self._owner}-{n}"
        return self.path.parent / f"{name}.flow"

    def _mend(self, descriptor: int) -> int:
        """The end of the last whole flow; what stands behind it is cut off."""
        size = os.fstat(descriptor).st_size
        if self._whole is None:
            self._whole = whole(self.path) if size else 0
        if size > self._whole:
            os.ftruncate(descriptor, self._whole)
        return min(size, self._whole)


def whole(path: Path) -> int:
    """How far whole flows go in a flow file: each has its length before it, and ``}`` behind."""
    end = 0
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        while end < size:
            file.seek(end)
            head, colon, _ = file.read(16).partition(b":")
            if not colon or not head.isdigit():
                break
            last = end + len(head) + 1 + int(head)
            file.seek(last)
            if file.read(1) != b"}":
                break
            end = last + 1
    return end


def pack(path: Path) -> Path:
    """Compress ``path``; the file that it has become. OSError when it cannot be."""
    packed = path.with_name(path.name + PACKED)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.packing")
    found = path.stat()
    settings = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, window_log=_WINDOW, enable_ldm=True, write_checksum=True
    )
    if packed.exists():
        with packed.open("rb") as file:
            if zstandard.frame_content_size(file.read(32)) != found.st_size:
                raise FileExistsError(17, "holds something else", str(packed))
        # Whoever packed it was ended before it could be taken away.
        path.unlink(missing_ok=True)
        return packed
    try:
        with path.open("rb") as source, open(beside, "wb", opener=_private) as target:
            packer = zstandard.ZstdCompressor(compression_params=settings)
            if 0 < found.st_size <= _MAPPED:
                with mmap.mmap(source.fileno(), found.st_size, access=mmap.ACCESS_READ) as whole:
                    target.write(packer.compress(memoryview(whole)))
            else:
                packer.copy_stream(source, target, size=found.st_size)
            target.flush()
            os.fsync(target.fileno())
        # Its age is that of what it holds.
        os.utime(beside, ns=(found.st_atime_ns, found.st_mtime_ns))
        beside.replace(packed)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)
    return packed


def opened(path: Path) -> BinaryIO:
    """``path`` to read from, whether it is packed or not. OSError when it cannot be."""
    if path.suffix != PACKED:
        return path.open("rb")
    reader = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), closefd=True)
    return BufferedReader(_Unpacked(reader), _PIECE)


class _Unpacked(RawIOBase):
    """A reader whose errors are those of any damaged file."""

    def __init__(self, reader: zstandard.ZstdDecompressionReader) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        try:
            return int(self._reader.readinto(into))
        except zstandard.ZstdError as e:
            raise OSError(f"cannot be unpacked: {e}") from None

    def close(self) -> None:
        self._reader.close()
        super().close()


def recordings(folder: Path) -> Iterator[Path]:
    """The flow files in ``folder``, packed or not, in the order of their names."""
    yield from sorted([*folder.glob("*.flow"), *folder.glob(f"*.flow{PACKED}")])


def _age(path: Path, now: float) -> float:
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
