"""Looks for planted secrets in everything that was written or shown, in every form; a search of its
own that shares nothing with what hides them.

A secret counts as told where twelve characters of it stand in a row.
"""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import zstandard
from mitmproxy import http

from addons.flowfile import flows_of
from tests.planted import core

_WIDE = 12
_WORDS = re.compile(rb"[A-Za-z0-9]{%d,}" % _WIDE)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class Search:
    """Knows secrets and finds where they are told; each view of a text is read once."""

    def __init__(self, planted: dict[str, str]) -> None:
        self._windows: dict[bytes, str] = {}
        for secret, what in planted.items():
            text = core(secret).encode()
            for at in range(len(text) - _WIDE + 1):
                self._windows[text[at : at + _WIDE]] = what
        self._read: set[bytes] = set()

    def folder(self, folder: Path, *but: Path) -> list[str]:
        """What is told in files under `folder`, packed or not, and in flows and tables in them."""
        found = []
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path in but:
                continue
            found += [f"{path.name}: {hit}" for hit in self.told(*_raw(path))]
            if ".flow" in path.suffixes:
                found += [f"{path.name}: {hit}" for hit in self._flows(path)]
            if path.suffix == ".db":
                found += [f"{path.name}: {hit}" for hit in self.told(*_rows(path))]
        return found

    def told(self, *data: bytes) -> list[str]:
        """What is told in `data`, as it stands, in URLs, in Base64 at each of the three places."""
        return [f"{what}, {how}" for part in data for how, what in self._hits(part)]

    def _flows(self, path: Path) -> Iterator[str]:
        for number, flow in enumerate(flows_of(path), 1):
            assert isinstance(flow, http.HTTPFlow)
            for name, data in _parts(flow):
                for hit in self.told(data):
                    yield f"flow {number}, {name}: {hit}"

    def _hits(self, data: bytes) -> Iterator[tuple[str, str]]:
        if data in self._read:
            return
        self._read.add(data)
        for how, view in _views(data):
            for word in _WORDS.findall(view):
                for at in range(len(word) - _WIDE + 1):
                    if what := self._windows.get(word[at : at + _WIDE]):
                        yield how, what
                        break


def _views(data: bytes) -> Iterator[tuple[str, bytes]]:
    yield "as it is", data
    urls = unquote_to_bytes(data) if b"%" in data else data
    if urls != data:
        yield "in a URL", urls
    for text in {data, urls, re.sub(rb"\\+[nr]|\s", b"", data)}:
        for run in _BASE64.findall(text):
            for shift in range(4):
                piece = run[shift:].translate(_URL_SAFE)
                piece = piece[: len(piece) // 4 * 4]
                raw = base64.b64decode(piece)
                yield "in Base64", raw
                if b"zTXt" in raw:
                    packed = raw.partition(b"zTXt")[2].partition(b"\0\0")[2]
                    yield "packed in a picture", zlib.decompressobj().decompress(packed)


def _raw(path: Path) -> list[bytes]:
    data = path.read_bytes()
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return [data]


def _rows(path: Path) -> list[bytes]:
    with sqlite3.connect(path) as file:
        named = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        tables = [name for (name,) in file.execute(named)]
        rows = [row for name in tables for row in file.execute(f"SELECT * FROM {name}")]
    return [v if isinstance(v, bytes) else str(v).encode() for row in rows for v in row]


def _parts(flow: http.HTTPFlow) -> Iterator[tuple[str, bytes]]:
    yield "comment", flow.comment.encode()
    for value in flow.metadata.values():
        yield "metadata", value.encode()
        yield from (("metadata", text) for text in _strings(json.loads(value)))
    yield "error", (flow.error.msg if flow.error else "").encode()
    yield "path", flow.request.path.encode()
    for name, message in (("request", flow.request), ("response", flow.response)):
        if message is None:
            continue
        for key, value in message.headers.fields:
            yield f"{name} header {key.decode()}", value
        body = message.get_content(strict=False) or b""
        yield f"{name} body", body
        for text in _texts(body):
            yield f"{name} text", text


def _texts(body: bytes) -> Iterator[bytes]:
    """Every string in a body, JSON in JSON, too; of streams, each field's pieces as one."""
    try:
        yield from _strings(json.loads(body))
        return
    except (ValueError, RecursionError):
        pass
    joined: dict[str, list[str]] = defaultdict(list)
    for line in body.split(b"\n"):
        try:
            event = json.loads(line[5:]) if line.startswith(b"data:") else None
        except ValueError:
            continue
        for path, text in _leaves(event, f"{_type(event)}"):
            joined[path].append(text)
    for pieces in joined.values():
        yield from _strings("".join(pieces))


def _type(event: Any) -> str:
    if not isinstance(event, dict):
        return ""
    return f"{event.get('type')} {event.get('index')} {event.get('output_index')}"


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{at}]")


def _strings(value: Any) -> Iterator[bytes]:
    for _, text in _leaves(value, ""):
        yield text.encode("utf-8", "surrogatepass")
        if text[:1] in ("{", "["):
            try:
                yield from _strings(json.loads(text))
            except (ValueError, RecursionError):
                pass
