"""The same protocol on both sides: the bytes pass; only their ends are looked at, and what stands
in them for something of the client's is put back."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..turn import Failure, Usage
from .responses.named import Named
from .unmask import UnmaskStream

if TYPE_CHECKING:
    from .translate import Translation


class Passthrough:
    """An answer that passes."""

    _TAIL = 256 * 1024

    def __init__(self, translation: Translation) -> None:
        self._stream = translation.turn.stream
        self._read = translation.upstream.tail_usage
        self._head = b""
        self._tail = b""
        unmask = translation.unmask
        self._unmask = UnmaskStream(translation.turn.protocol, unmask) if unmask else None
        asked = translation.written_back
        self._named = Named(translation.route.model, asked) if asked else None

    @property
    def failure(self) -> Failure | None:
        return None

    @property
    def repaired(self) -> list[str]:
        return []

    @property
    def response(self) -> dict[str, Any] | None:
        return None

    def feed(self, data: bytes) -> bytes:
        self._head = self._head or data
        self._tail = (self._tail + data)[-self._TAIL :]
        data = self._unmask.feed(data) if self._unmask else data
        return self._named.feed(data) if self._named else data

    def close(self) -> bytes:
        data = self._unmask.close() if self._unmask else b""
        return self._named.feed(data) + self._named.close() if self._named else data

    def abort(self, failure: Failure) -> bytes:
        return b""

    def whole(self, body: bytes) -> bytes | None:
        self._head, self._tail = body[: self._TAIL], body[-self._TAIL :]
        if self._stream and not is_stream(body):
            return None
        body = self._unmask.whole(body) if self._unmask else body
        return self._named.whole(body) if self._named else body

    @property
    def usage(self) -> Usage | None:
        return self._ends[0]

    @property
    def calls(self) -> int:
        return self._ends[1]

    @cached_property
    def _ends(self) -> tuple[Usage | None, int]:
        """Tokens and calls; asked for once the answer is there."""
        return self._read(self._head, self._tail)


def is_stream(body: bytes) -> bool:
    """Whether an answer came as events, whatever its head says."""
    return body.lstrip().startswith((b"data:", b"event:", b":"))
