"""The lines of a log file, plain or compressed, and the times that stand in them."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

import msgspec

from .types import LogError

#: What a line raises that is no JSON, or not such JSON.
DAMAGED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
#: How log files end.
SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
_UNREADABLE = (OSError, EOFError, zlib.error)
#: Escapes in JSON that begin with a backslash or are UTF-16: whole pairs, and halves of them.
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def stem(path: Path) -> str:
    """A log's name without what says how it is stored."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return path.stem


def lines(path: Path, notes: list[str]) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line that is not blank; one that is not UTF-8 becomes a note.

    LogError where the file cannot be opened or nothing of it can be read.
    """
    number = 0
    damaged: tuple[type[Exception], ...] = _UNREADABLE
    try:
        file, more = _opened(path)
        damaged += more
        with file:
            for number, line in enumerate(file, 1):
                stripped = line.strip()
                if not stripped:
                    continue
                try:
                    stripped.decode()
                except UnicodeDecodeError as e:
                    notes.append(f"line {number}: not UTF-8: {e.reason}")
                    continue
                yield number, _whole(stripped)
    except damaged as e:
        why = (e.strerror if isinstance(e, OSError) else None) or str(e) or type(e).__name__
        if not number:
            raise LogError(path, 0, f"cannot be read: {why}") from None
        notes.append(f"line {number + 1}: nothing can be read from here on: {why}")


def _opened(path: Path) -> tuple[IO[bytes], tuple[type[Exception], ...]]:
    """The file's bytes, and what its decompressor raises besides the usual."""
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb")), ()
    if path.suffix != ".zst":
        return path.open("rb"), ()
    try:
        zstd = import_module("compression.zstd")
        return zstd.open(path, "rb"), (zstd.ZstdError,)
    except ImportError:
        pass
    try:
        zstd = import_module("zstandard")
    except ImportError:
        why = "compressed with zstd, which needs Python 3.14 or the package zstandard"
        raise LogError(path, 0, why) from None
    reader = zstd.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True)
    return cast(IO[bytes], BufferedReader(reader)), (zstd.ZstdError,)


def _whole(line: bytes) -> bytes:
    """The line without halves of characters, which JavaScript leaves where it cuts a text and no
    other JSON knows."""
    if b"\\ud" not in line and b"\\uD" not in line:
        return line
    return _ESCAPES.sub(lambda m: rb"\ufffd" if len(m[0]) == 6 else m[0], line)


def seconds(timestamp: str | None) -> float | None:
    """An ISO 8601 time in seconds since 1970; None for nothing and for what is no time."""
    try:
        return datetime.fromisoformat(timestamp).timestamp() if timestamp else None
    except (ValueError, OverflowError, OSError):
        return None
