"""Everything that bytes tell: as they stand, as JSON, as JSON in JSON, in Base64, in URLs, and what
a stream says in pieces. A search of its own, which shares nothing with what hides things."""

from __future__ import annotations

import base64
import binascii
import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from mitmproxy import http

from addons.flowfile import flows_of

#: Fields and indices down to a string. The name of a field has that name in a tuple.
Way = tuple[Any, ...]
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}")
_URL_SAFE = str.maketrans("-_", "+/")
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|([/"\\bfnrt]))')
_PLAIN = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_DEEPEST = 3


def strings(body: bytes) -> Iterator[tuple[Way, str]]:
    """All strings of a JSON body, names of fields too, and what they hold; else its text."""
    text = body.decode("utf-8", "surrogateescape")
    value = _value(text)
    if value is None:
        yield (), text
        yield (), _unescaped(text)
        return
    yield from inner_strings(value)


def inner_strings(value: Any, way: Way = (), depth: int = 0) -> Iterator[tuple[Way, str]]:
    """The same of a decoded value; objects may be lists of pairs, as `_value` makes them."""
    todo: list[tuple[Way, Any]] = [(way, value)]
    while todo:
        at, one = todo.pop()
        if isinstance(one, str):
            yield at, one
            if depth < _DEEPEST:
                yield from _hidden(at, one, depth)
        elif isinstance(one, _Pairs):
            for name, inner in one:
                yield (*at, (name,)), name
                todo.append(((*at, name), inner))
        elif isinstance(one, dict):
            todo.append((at, _Pairs(one.items())))
        elif isinstance(one, list):
            todo += [((*at, n), inner) for n, inner in enumerate(one)]


class _Pairs(list[tuple[str, Any]]):
    """An object with each of its names, twice where it is there twice."""


def _value(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_Pairs, strict=False)
    except (ValueError, RecursionError):
        return None


def _hidden(way: Way, text: str, depth: int) -> Iterator[tuple[Way, str]]:
    if text.lstrip()[:1] in ("{", "[", '"') and (value := _value(text)) is not None:
        yield from inner_strings(value, way, depth + 1)
    for run in _BASE64.findall(text):
        if raw := _decoded(run):
            inner = raw.decode("utf-8", "surrogateescape")
            at = (*way, "base64")
            yield at, inner
            if (value := _value(inner)) is not None:
                yield from inner_strings(value, at, depth + 1)


def _decoded(text: str) -> bytes:
    text = text.translate(_URL_SAFE)
    text = text[: len(text) - (len(text) % 4 == 1)]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""


def _unescaped(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        return chr(int(match[1], 16)) if match[1] else _PLAIN.get(match[2], match[2])

    return _ESCAPE.sub(plain, text)


class Words:
    """Tells which of some words bytes tell, in any of the forms in which they may be written."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = list(words)
        forms = {}
        for word in self._words:
            for form in (word, json.dumps(word)[1:-1], json.dumps(word, ensure_ascii=False)[1:-1]):
                forms[form] = word
        self._forms = forms
        longest = sorted(forms, key=len, reverse=True)
        self._any = re.compile("|".join(map(re.escape, longest)))

    def found(self, data: bytes) -> set[str]:
        """The words that ``data`` tells."""
        hits: set[str] = set()
        text = data.decode("utf-8", "surrogateescape")
        for view in _views(text):
            hits |= {self._forms[match] for match in self._any.findall(view)}
        return hits

    def among(self, texts: Iterable[str]) -> set[str]:
        """The words that ``texts`` tell, as they stand."""
        return {self._forms[m] for text in texts for m in self._any.findall(text)}


def _views(text: str) -> Iterator[str]:
    yield text
    plain = _unescaped(text) if "\\" in text else text
    if plain is not text:
        yield plain
        again = _unescaped(plain)
        if again != plain:
            yield again
    if "%" in text:
        yield unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
    for run in _BASE64.findall(plain):
        for shift in range(4):
            if raw := _decoded(run[shift:]):
                yield raw.decode("utf-8", "surrogateescape")


def said_in_pieces(stream: bytes) -> list[str]:
    """What a stream says piece by piece, put together by the fields of its events."""
    joined: dict[Way, list[str]] = defaultdict(list)
    for line in stream.split(b"\n"):
        if not line.startswith(b"data:"):
            continue
        value = _value(line[5:].decode("utf-8", "surrogateescape"))
        if isinstance(value, _Pairs):
            top = dict(value)
            head = tuple(repr(top.get(name)) for name in ("type", "index", "output_index"))
            for way, text in inner_strings(value, (), _DEEPEST):
                joined[*head, *way].append(text)
    return ["".join(pieces) for pieces in joined.values()]


def written_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    """(where, what) of all that stands in the files of ``folder``, flows and tables taken apart."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        yield path.name, path.read_bytes()
        if ".flow" in path.suffixes:
            for number, one in enumerate(flows_of(path)):
                if isinstance(one, http.HTTPFlow):
                    yield from ((f"{path.name} flow {number} {w}", d) for w, d in _parts(one))
        elif path.suffix == ".db":
            yield from ((f"{path.name} {table}", data) for table, data in _rows(path))


def _parts(one: http.HTTPFlow) -> Iterator[tuple[str, bytes]]:
    yield "comment", one.comment.encode("utf-8", "surrogatepass")
    if one.error:
        yield "error", one.error.msg.encode("utf-8", "surrogatepass")
    yield "path", one.request.data.path
    for name, message in (("request", one.request), ("response", one.response)):
        if message is None:
            continue
        for key, value in message.headers.fields:
            yield f"{name} header {key!r}", value
        try:
            body = message.get_content(strict=False) or b""
        except Exception:
            body = message.raw_content or b""
        yield f"{name} body", body
        for text in said_in_pieces(body):
            yield f"{name} body in pieces", text.encode("utf-8", "surrogatepass")


def _rows(path: Path) -> Iterator[tuple[str, bytes]]:
    with sqlite3.connect(path) as file:
        named = "SELECT name FROM sqlite_master WHERE type = 'table'"
        for (table,) in file.execute(named).fetchall():
            for row in file.execute(f"SELECT * FROM {table}"):
                for value in row:
                    yield table, value if isinstance(value, bytes) else str(value).encode()
