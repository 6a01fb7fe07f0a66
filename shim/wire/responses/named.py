"""An answer that passes as it came, but for its model's name: the client reads that it asked for.

Split at blank lines; only an event that tells of the whole response is looked into, and in it only
the bytes of that name change.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ..sse import BLANKS, split


class Named:
    """A Responses answer in which the model ``real`` goes by the name ``asked``."""

    def __init__(self, real: str, asked: str) -> None:
        self._asked = asked
        name = re.escape(msgspec.json.encode(real)[:-1])
        # In a string its quotes would be escaped, so this is always a field. A snapshot has a date.
        self._field = re.compile(rb'("model"\s*:\s*)' + name + rb'(?:-\d{4}-\d\d-\d\d)?"')
        self._new = msgspec.json.encode(asked)
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """What the client gets for a piece of the stream."""
        whole = self._rest + data
        if b'"model"' not in whole:
            # Deltas name no model, and are nearly all there is.
            ends = (whole.rfind(blank) + len(blank) for blank in BLANKS if blank in whole)
            end = max(ends, default=0)
            self._rest = whole[end:]
            return whole[:end]
        found, self._rest = split(self._rest, data)
        return b"".join([self._event(raw) for raw in found])

    def close(self) -> bytes:
        """What the client gets at its end."""
        rest, self._rest = self._rest, b""
        return self._event(rest)

    def whole(self, body: bytes) -> bytes:
        """An answer that is no stream: a response, or a compacted one."""
        if body.lstrip()[:1] != b"{":
            return self.feed(body) + self.close()
        return self._replaced(body, body, b"")

    def _event(self, raw: bytes) -> bytes:
        if b'"model"' not in raw or b'"response"' not in raw:
            return raw
        at = raw.find(b"data:")
        return self._replaced(raw, raw[at + 5 :], raw[: at + 5]) if at >= 0 else raw

    def _replaced(self, raw: bytes, data: bytes, before: bytes) -> bytes:
        """``raw`` with the response's own model renamed, and no other field of that name."""
        for match in self._field.finditer(data):
            made = data[: match.end(1)] + self._new + data[match.end() :]
            if _model(made) == self._asked:
                return before + made
        return raw


def _model(data: bytes) -> Any:
    """The name of the model that an event or an answer tells."""
    try:
        told = _decode(data)
        inner = told.response if isinstance(told.response, _Told) else told
        return inner.model
    except (ValueError, RecursionError):
        return None


class _Told(msgspec.Struct):
    model: str | None = None
    response: _Told | None = None


_decode = msgspec.json.Decoder(_Told).decode
