"""The requests that newer versions of Claude Code log as they send them.

An ``api-request`` line names its messages by hash and may go on from another request; the messages
stand in ``api-request-blob`` lines, system prompt and tools in ``api-request-shape`` lines.
"""

from __future__ import annotations

import msgspec

from .claude_lines import Line
from .lines import seconds
from .types import Recipe

_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SHAPE = ("system", "tools")


class Logged:
    """The requests of a transcript, by their ids."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}
        self._messages: dict[str, bytes] = {}
        self._shapes: dict[str, dict[str, bytes]] = {}
        #: Lists of messages as far as they were built, each shared by the requests that go on.
        self._built: dict[str, tuple[list[bytes], int]] = {}

    def add(self, line: Line) -> bool:
        """Keep a line that belongs here; a msgspec error where it is damaged."""
        if line.type == "api-request" and line.id:
            # Lines are taken apart once; what is kept of them must not hold the whole line.
            line.params = msgspec.Raw(bytes(line.params))
            self._lines[line.id] = line
        elif line.type == "api-request-blob" and line.hash:
            self._messages[line.hash] = bytes(line.message)
        elif line.type == "api-request-shape" and line.shape_hash:
            shape = _raw_fields.decode(line.shape)
            self._shapes[line.shape_hash] = {k: bytes(shape[k]) for k in _SHAPE if k in shape}
        else:
            return False
        return True

    def recipe(self, id: str) -> Recipe | None:
        """The request of that id; None where a part of it is missing."""
        line = self._lines.get(id)
        shape = self._shapes.get(line.shape_hash or "") if line else None
        built = self._messages_of(id)
        if line is None or shape is None or built is None:
            return None
        fields: dict[str, bytes] = {}
        if bytes(line.params):
            params = _raw_fields.decode(line.params)
            if "model" in params:
                fields["model"] = bytes(params["model"])
        return Recipe({**fields, **shape}, "messages", *built, seconds(line.timestamp))

    def _messages_of(self, id: str) -> tuple[list[bytes], int] | None:
        """A list that begins with the request's messages, and how many they are."""
        waiting: list[Line] = []
        at = id
        # Not recursive: a long session is one chain of requests that go on from another.
        while at not in self._built:
            line = self._lines.pop(at, None) if waiting else self._lines.get(at)
            if line is None:
                return None
            waiting.append(line)
            if not line.base or not line.keep:
                break
            at = line.base
        while waiting:
            line = waiting.pop()
            if not self._build(line):
                return None
        return self._built.get(id)

    def _build(self, line: Line) -> bool:
        kept, end = self._built.get(line.base or "", ([], 0)) if line.keep else ([], 0)
        keep = line.keep or 0
        new = [self._messages.get(name) for name in line.tail or ()]
        if keep > end or None in new:
            return False
        if keep < len(kept):
            kept = kept[:keep]
        kept.extend(message for message in new if message is not None)
        self._built[line.id or ""] = kept, len(kept)
        return True
