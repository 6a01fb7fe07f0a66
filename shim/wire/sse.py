"""Server-sent events: bytes to (event, data) pairs, and back. Source: WHATWG HTML, section 9.2.

Strategy: keep the unfinished last line, split the rest at line feeds, and give an event out at its
blank line. Works under any cut of the bytes; an event still open at the end counts (``close``).
"""

from __future__ import annotations

import re

_LINE = re.compile(rb"\r\n|\n|\r")
#: What ends an event, where nobody looks at its lines.
BLANKS = (b"\n\n", b"\n\r\n", b"\r\r")
BLANK = re.compile(b"|".join(BLANKS))


class SSEDecoder:
    """Feed bytes, get ``(event name, data)``; a comment comes as ``(None, its text)``."""

    def __init__(self) -> None:
        self._rest = b""
        self._event = b""
        self._data: list[bytes] = []
        self._first = True

    @property
    def idle(self) -> bool:
        """Whether the last event is whole, so that the next piece begins with a new one."""
        return not (self._rest or self._data or self._event or self._first)

    def feed(self, chunk: bytes) -> list[tuple[str | None, bytes]]:
        """The events that ``chunk`` completes."""
        buffer = self._rest + chunk if self._rest else chunk
        if self._first and buffer:
            if b"\xef\xbb\xbf".startswith(buffer[:3]) and len(buffer) < 3:
                self._rest = buffer
                return []
            self._first = False
            buffer = buffer.removeprefix(b"\xef\xbb\xbf")
        out: list[tuple[str | None, bytes]] = []
        if b"\r" in buffer:
            # A trailing CR may be half of a CRLF: wait for what follows.
            held = b"\r" if buffer.endswith(b"\r") else b""
            lines = _LINE.split(buffer[: len(buffer) - len(held)])
            self._rest = lines.pop() + held
        else:
            lines = buffer.split(b"\n")
            self._rest = lines.pop()
        for line in lines:
            self._line(line, out)
        return out

    def close(self) -> list[tuple[str | None, bytes]]:
        """What an upstream that ended without the last blank line still meant to say."""
        out: list[tuple[str | None, bytes]] = []
        for line in (*_LINE.split(self._rest), b""):
            self._line(line, out)
        self._rest = b""
        return out

    def _line(self, line: bytes, out: list[tuple[str | None, bytes]]) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif not line:
            if self._data:
                out.append((self._event.decode("utf-8", "replace"), b"\n".join(self._data)))
            self._data = []
            self._event = b""
        elif line.startswith(b"event:"):
            self._event = line[6:].strip()
        elif line.startswith(b":"):
            out.append((None, line[1:].strip()))


def split(rest: bytes, data: bytes) -> tuple[list[bytes], bytes]:
    """The events that are whole once ``data`` follows ``rest``, as they came, and what is left."""
    whole, found, at = rest + data, [], 0
    for match in BLANK.finditer(whole, max(0, len(rest) - 2)):
        found.append(whole[at : match.end()])
        at = match.end()
    return found, whole[at:]


def encode(event: str, data: bytes) -> bytes:
    """One event on the wire; ``data`` must be JSON on one line."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
