"""The requests that newer versions of Claude Code log as they send them.

An ``api-request`` line names its messages by hash and may go on from another request; system prompt
and tools stand in ``api-request-shape`` lines. Messages that are in the transcript anyway are only
named; the others stand in ``api-request-blob`` lines.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from .lines import DAMAGED, seconds
from .types import Recipe

_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SHAPE = ("system", "tools")


class _Line(msgspec.Struct, rename="camel"):
    """A line of any of the three types."""

    type: str | None = None
    id: str | None = None
    timestamp: str | None = None
    hash: str | None = None
    message: msgspec.Raw = msgspec.Raw()
    shape_hash: str | None = None
    shape: msgspec.Raw = msgspec.Raw()
    params: msgspec.Raw = msgspec.Raw()
    base: str | None = None
    keep: int | None = None
    tail: list[str] | None = None


_line = msgspec.json.Decoder(_Line)


class _Run(msgspec.Struct):
    """Messages by their hashes, and those that were looked up; shared by requests that go on."""

    names: list[str]
    messages: list[bytes] = []


class _Request(msgspec.Struct):
    """One logged request: the first ``end`` messages of ``run``."""

    run: _Run
    end: int
    model: bytes
    shape: str
    when: float | None


class Logged:
    """The requests of a transcript, by their ids."""

    def __init__(self) -> None:
        self._requests: dict[str, _Request] = {}
        self._messages: dict[str, bytes] = {}
        self._shapes: dict[str, dict[str, bytes]] = {}

    def add(self, raw: bytes) -> None:
        """Keep a line that belongs here; a msgspec error where it is damaged."""
        line = _line.decode(raw)
        if line.type == "api-request" and line.id:
            self._request(line.id, line)
        elif line.type == "api-request-blob" and line.hash:
            self._messages.setdefault(line.hash, bytes(line.message))
        elif line.type == "api-request-shape" and line.shape_hash:
            shape = _raw_fields.decode(line.shape)
            self._shapes[line.shape_hash] = {k: bytes(shape[k]) for k in _SHAPE if k in shape}

    def learn(self, message: bytes) -> None:
        """Know a message of the transcript by its hash."""
        if not self._requests:
            return
        try:
            value: Any = msgspec.json.decode(message)
        except DAMAGED:
            return
        canonical = msgspec.json.encode(value, order="deterministic")
        self._messages.setdefault(hashlib.sha256(canonical).hexdigest(), message)

    def recipe(self, id: str) -> Recipe | None:
        """The request of that id; None where a part of it is missing."""
        request = self._requests.get(id)
        shape = self._shapes.get(request.shape) if request else None
        if request is None or shape is None:
            return None
        run = request.run
        for name in run.names[len(run.messages) : request.end]:
            message = self._messages.get(name)
            if message is None:
                return None
            run.messages.append(message)
        fields = {"model": request.model} if request.model else {}
        fields |= shape
        return Recipe(fields, "messages", run.messages, request.end, request.when)

    def _request(self, id: str, line: _Line) -> None:
        params = _raw_fields.decode(line.params) if bytes(line.params) else {}
        keep = line.keep or 0
        base = self._requests.get(line.base or "") if keep else None
        if keep and (base is None or keep > base.end):
            return
        run = base.run if base else _Run([])
        if keep < len(run.names):
            run = _Run(run.names[:keep])
        run.names.extend(line.tail or ())
        model = bytes(params.get("model", b""))
        shape = line.shape_hash or ""
        self._requests[id] = _Request(run, len(run.names), model, shape, seconds(line.timestamp))
