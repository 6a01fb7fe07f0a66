"""Electron's archive format, ASAR: read the header and files, write it again with changed files.

An archive is two pickled values (the header's length, the header: JSON that names every file with
its offset, size and hashes) and then the files' bytes. Files marked ``unpacked`` lie beside the
archive and are never touched. Nothing is ever extracted: a file's name is only a name here, and
everything the header says is checked before it is believed.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

#: What Electron hashes a file in, where the header does not say otherwise.
BLOCK = 4 * 1024 * 1024
#: Real headers have a few MB.
LARGEST_HEADER = 256 * 1024 * 1024
_PIECE = 1024 * 1024


class AsarError(Exception):
    """Why this is no archive that can be read or written, in one line."""


@dataclass(frozen=True)
class Entry:
    """A file that lies in the archive. ``node`` is its entry in the header."""

    name: str
    offset: int
    size: int
    node: dict[str, Any]


@dataclass(frozen=True)
class Archive:
    """An archive whose header was read and found sound; ``files`` by their name, as ``a/b.js``."""

    path: Path
    header: dict[str, Any]
    #: What Electron wants in Info.plist: the SHA256 of the header's JSON, as it stands there.
    hash: str
    #: Where the files' bytes start.
    start: int
    files: dict[str, Entry]

    def read(self, name: str) -> bytes:
        """The bytes of a packed file."""
        entry = self.files[name]
        with self.path.open("rb") as file:
            return b"".join(_pieces(file, self.start + entry.offset, entry.size, self.path))

    def check(self) -> None:
        """AsarError when a file's bytes are not what its hashes in the header say."""
        with self.path.open("rb") as file:
            for entry in self.files.values():
                if "integrity" in entry.node:
                    stored = entry.node["integrity"]
                    found = _hashes(
                        _pieces(file, self.start + entry.offset, entry.size, self.path),
                        _block_size(self.path, entry.name, stored),
                    )
                    # The list may end in the hash of an empty block; Electron reads no such block.
                    count = len(found["blocks"]) - (not entry.size % found["blockSize"])
                    blocks = stored.get("blocks")
                    if (
                        stored.get("hash") != found["hash"]
                        or not isinstance(blocks, list)
                        or blocks[:count] != found["blocks"][:count]
                    ):
                        raise AsarError(
                            f"{self.path}: the bytes of {entry.name} are not those it has hashes of"
                        )


def read(path: Path) -> Archive:
    """The archive at ``path``. AsarError when it is none, is cut short, or lies about itself."""
    total = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        if len(head) < 16:
            raise AsarError(f"{path}: {total} bytes are too few for an ASAR archive")
        four, pickled, payload, length = struct.unpack("<4I", head)
        if four != 4 or not length or length + 4 > payload or payload + 4 > pickled:
            raise AsarError(f"{path}: this is no ASAR archive (its first bytes are wrong)")
        if pickled > LARGEST_HEADER:
            raise AsarError(f"{path}: a header of {pickled} bytes is too large to be true")
        if 8 + pickled > total:
            raise AsarError(f"{path}: cut short, its header ends after the file does")
        text = file.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise AsarError(f"{path}: its header is not JSON that can be read") from None
    start = 8 + pickled
    if not isinstance(header, dict) or not isinstance(header.get("files"), dict):
        raise AsarError(f"{path}: its header has no list of files")
    files = {entry.name: entry for entry in _entries(path, header["files"], total - start)}
    return Archive(path, header, hashlib.sha256(text).hexdigest(), start, files)


def write(archive: Archive, target: Path, changes: Mapping[str, bytes]) -> Archive:
    """A copy of the archive in ``target``, with these files' bytes instead of their own.

    The copy is read again and checked against its hashes. AsarError when files lie over each
    other in part, so that one cannot be changed alone.
    """
    header = json.loads(_text(archive.path, archive.header))  # the archive itself stays as it was
    nodes = {entry.name: entry.node for entry in _entries(archive.path, header["files"], None)}
    parts: list[tuple[Entry, bytes | None]] = []
    places: dict[tuple[int, int], int] = {}
    place = end = 0
    last = (0, 0)
    for entry in sorted(archive.files.values(), key=lambda e: (e.offset, e.size)):
        content, node, span = changes.get(entry.name), nodes[entry.name], (entry.offset, entry.size)
        if entry.size and entry.offset < end and span != last:
            raise AsarError(f"{archive.path}: {entry.name} lies over another file in part")
        if entry.size:
            last, end = span, entry.offset + entry.size
        if content is None and span in places:  # the same bytes under two names
            node["offset"] = str(places[span])
            continue
        size = entry.size if content is None else len(content)
        node["offset"], node["size"] = str(place), size
        if content is None:
            places[span] = place
        elif "integrity" in node:
            block = _block_size(archive.path, entry.name, node["integrity"])
            node["integrity"] = {**node["integrity"], **_hashes(iter((content,)), block)}
        parts.append((entry, content))
        place += size
    head = _pickled(archive.path, header)
    with archive.path.open("rb") as source, target.open("wb") as out:
        out.write(head)
        for entry, content in parts:
            if content is not None:
                out.write(content)
                continue
            for piece in _pieces(source, archive.start + entry.offset, entry.size, archive.path):
                out.write(piece)
    written = read(target)
    written.check()
    return written


def _pickled(path: Path, header: dict[str, Any]) -> bytes:
    text = _text(path, header)
    padded = text + b"\0" * (-len(text) % 4)
    return struct.pack("<4I", 4, len(padded) + 8, len(padded) + 4, len(text)) + padded


def _text(path: Path, header: dict[str, Any]) -> bytes:
    try:
        return json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    except (UnicodeEncodeError, RecursionError):
        raise AsarError(f"{path}: its header cannot be written again") from None


def _entries(path: Path, top: dict[str, Any], room: int | None) -> Iterator[Entry]:
    """The packed files under ``top``; ``room`` is how many bytes the archive has for them."""

    def wrong(name: str, why: str) -> AsarError:
        return AsarError(f"{path}: its header {why} ({name[:200]!r})")

    stack: list[tuple[str, Any]] = [("", top)]
    while stack:
        folder, nodes = stack.pop()
        if not isinstance(nodes, dict):
            raise wrong(folder, "has a folder that is none")
        for part, node in nodes.items():
            name = f"{folder}{part}"
            if part in ("", ".", "..") or any(sign in part for sign in "/\\\0"):
                raise wrong(name, "has a file name that leads elsewhere")
            if not isinstance(node, dict):
                raise wrong(name, "has a file that is none")
            if "files" in node:
                stack.append((f"{name}/", node["files"]))
            elif "link" in node:
                if not _stays_inside(node["link"]):
                    raise wrong(name, "has a link that leads out of the archive")
            elif not node.get("unpacked"):
                size = _number(node.get("size"))
                offset = _number(node.get("offset"))
                if size is None or offset is None:
                    raise wrong(name, "has a file without a size and a place")
                if room is not None and offset + size > room:
                    raise wrong(name, "has a file that ends after the archive does")
                yield Entry(name, offset, size, node)


def _stays_inside(link: object) -> bool:
    if not isinstance(link, str) or not link or link[0] in "/\\" or ":" in link or "\0" in link:
        return False
    return ".." not in link.replace("\\", "/").split("/")


def _number(value: object) -> int | None:
    """What the header has as a number, or as a string of digits: offsets are strings."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _block_size(path: Path, name: str, integrity: object) -> int:
    if isinstance(integrity, dict) and integrity.get("algorithm") == "SHA256":
        size = integrity.get("blockSize", BLOCK)
        if type(size) is int and 1024 <= size <= 1 << 30:
            return size
    raise AsarError(f"{path}: {name} has hashes of a kind that is not known here")


def _hashes(pieces: Iterator[bytes], size: int) -> dict[str, Any]:
    """What the header says of a file's bytes. A last block, maybe empty, is always in the list."""
    whole, block, room = hashlib.sha256(), hashlib.sha256(), size
    blocks = []
    for piece in pieces:
        whole.update(piece)
        rest = memoryview(piece)
        while rest:
            block.update(rest[:room])
            taken = min(room, len(rest))
            rest, room = rest[taken:], room - taken
            if not room:
                blocks.append(block.hexdigest())
                block, room = hashlib.sha256(), size
    blocks.append(block.hexdigest())
    return {"algorithm": "SHA256", "hash": whole.hexdigest(), "blockSize": size, "blocks": blocks}


def _pieces(file: BinaryIO, start: int, size: int, path: Path) -> Iterator[bytes]:
    file.seek(start)
    while size:
        piece = file.read(min(size, _PIECE))
        if not piece:
            raise AsarError(f"{path}: cut short while it was read")
        size -= len(piece)
        yield piece
