"""Server-sent events: bytes to (event, data) pairs, and back. Source: WHATWG HTML, section 9.2.

Strategy: keep the unfinished last line, split the rest at line feeds, and give an event out at its
blank line. Works under any cut of the bytes; an event still open at the end counts (``close``).
A line that is no field of the standard belongs to the data: servers let JSON stand by itself, or
break it into lines. Nothing is held beyond ``MOST`` bytes.
"""

from __future__ import annotations

import re

_LINE = re.compile(rb"\r\n|\n|\r")
#: What ends an event, where nobody looks at its lines.
BLANKS = (b"\n\n", b"\n\r\n", b"\r\r")
BLANK = re.compile(b"|".join(BLANKS))
#: Bytes of one event, at most.
MOST = 16 * 1024 * 1024
#: What pads lines and data: NUL, a byte order mark, blanks.
PADDING = b"\x00\xef\xbb\xbf \t"
#: A search for a byte by its number is the fastest.
_CR = 13
_MARK = b"\xef\xbb\xbf"
_KNOWN = (b"data:", b"event:", b"id:", b"retry:", b":")
#: A field that the standard does not know is ignored, as it says; unless it holds JSON.
_FIELD = re.compile(rb"(?!error)[A-Za-z][\w-]*(?::[^{\[\"]*)?")


class SSEDecoder:
    """Feed bytes, get ``(event name, data)``; a comment comes as ``(None, its text)``.

    ``idle``: the last event is whole, so that the next piece begins with a new one.
    ``too_long``: an event went beyond ``MOST`` bytes; nothing is read from there on. ``mended``:
    something was read that the standard would leave out.
    """

    def __init__(self) -> None:
        #: The unfinished last line, in pieces.
        self._held: list[bytes] = []
        self._event = b""
        self._data: list[bytes] = []
        #: Lines behind data that say nothing, unless the data goes on behind them.
        self._aside: list[bytes] = []
        #: Bytes of the event under way: those held, and those of its whole lines.
        self._held_size = self._size = 0
        self._first = True
        self.idle = True
        self.too_long = self.mended = False

    def feed(self, chunk: bytes) -> list[tuple[str | None, bytes]]:
        """The events that ``chunk`` completes."""
        out: list[tuple[str | None, bytes]] = []
        if not chunk or self.too_long:
            return out
        if held := self._held:
            self.idle = False
            if not (self._first or b"\n" in chunk or b"\r" in chunk or held[-1].endswith(b"\r")):
                held.append(chunk)
                self._bound(len(chunk))
                return out
            chunk = b"".join((*held, chunk))
        if self._first:
            if len(chunk) < 3 and _MARK.startswith(chunk):
                self._held, self.idle = [chunk], False
                return out
            self._first = False
            chunk = chunk.removeprefix(_MARK)
        if b"\r" in chunk:
            # A trailing CR may be half of a CRLF: wait for what follows.
            half = b"\r" if chunk.endswith(b"\r") else b""
            lines = _LINE.split(chunk[: len(chunk) - len(half)])
            rest = lines.pop() + half
        else:
            lines = chunk.split(b"\n")
            rest = lines.pop()
        self._held, self._held_size = [rest] if rest else [], 0
        for line in lines:
            self._line(line, out)
            if self.too_long:
                self.idle = False
                return out
        self._bound(len(rest))
        self.idle = not (rest or self._data or self._event or self.too_long)
        return out

    def close(self) -> list[tuple[str | None, bytes]]:
        """What an upstream that ended without the last blank line still meant to say."""
        out: list[tuple[str | None, bytes]] = []
        rest, self._held = b"".join(self._held).removesuffix(b"\r"), []
        for line in (rest, b""):
            if not self.too_long:
                self._line(line, out)
        return out

    def _bound(self, more: int) -> None:
        """``more`` bytes are held: give the event up where it has become too long."""
        self._held_size += more
        # A CR at the end may be no part of the line.
        half = bool(self._held) and self._held[-1].endswith(b"\r")
        if self._size + self._held_size - half > MOST:
            self._give_up()

    def _give_up(self) -> None:
        self.too_long = True
        self._held, self._data, self._aside = [], [], []

    def _line(self, line: bytes, out: list[tuple[str | None, bytes]]) -> None:
        if self._size + len(line) > MOST:
            self._give_up()
        elif line.startswith(b"data:") or line == b"data":
            self._add(line[6:] if line.startswith(b"data: ") else line[5:], len(line))
        elif not line:
            self._dispatch(out)
        elif line.startswith(_KNOWN) and not (b"data:" in line and b"{" in line):
            self._field(line, out)
        else:
            self._bare(line, out)

    def _add(self, data: bytes, size: int) -> None:
        self._data.append(data)
        self._aside.clear()
        self._size += size

    def _dispatch(self, out: list[tuple[str | None, bytes]]) -> None:
        if self._data:
            out.append((self._event.decode("utf-8", "replace"), b"\n".join(self._data)))
        self._event, self._data, self._size = b"", [], 0
        self._aside.clear()

    def _field(self, line: bytes, out: list[tuple[str | None, bytes]]) -> None:
        if line.startswith(b"event:"):
            if self._data and self._event:
                # Its second name: the blank line before it is missing.
                self.mended = True
                self._dispatch(out)
            self._event = line[6:].strip()
        elif line.startswith(b":"):
            out.append((None, line[1:].strip()))
        self._put_aside(line)

    def _put_aside(self, line: bytes) -> None:
        if self._data:
            self._aside.append(line)
            self._size += len(line)

    def _bare(self, line: bytes, out: list[tuple[str | None, bytes]]) -> None:
        """A line that is no field: padded, unknown, or data."""
        inner = line.lstrip(PADDING)
        if inner != line and (not inner or inner.startswith(_KNOWN)):
            self.mended = True
            if inner:
                self._line(inner, out)
            else:
                self._put_aside(line)
        elif _FIELD.fullmatch(inner):
            self._put_aside(line)
        else:
            self.mended = True
            self._data += self._aside
            self._add(line, len(line))


class Splitter:
    """Cuts a stream into its events as they came; ``too_long`` as in `SSEDecoder`."""

    def __init__(self) -> None:
        #: What is no whole event yet, in pieces; always the same list.
        self.held: list[bytes] = []
        self._edge = b""
        self._size = 0
        self.too_long = False

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are whole with ``data``."""
        if self.too_long:
            return []
        if not self.held and data[-2:] == b"\n\n" and _CR not in data and _is_one(data):
            self.too_long = len(data) > MOST
            return [] if self.too_long else [data]
        if not BLANK.search(self._edge + data):
            if data:
                self.held.append(data)
                self._size += len(data)
                self._edge = (self._edge + data)[-2:]
            self.too_long = self._size > MOST
            return []
        events, rest = split(b"".join(self.held), data)
        self.held[:], self._size, self._edge = [rest] if rest else [], len(rest), rest[-2:]
        for n, event in enumerate(events):
            if len(event) > MOST:
                self.too_long = True
                return events[:n]
        self.too_long = len(rest) > MOST
        return events

    def close(self) -> bytes:
        """What is left, without a blank line behind it."""
        rest = b"".join(self.held)
        self.held[:], self._size, self._edge = [], 0, b""
        return rest


def _is_one(data: bytes) -> bool:
    """Whether ``data`` is one event of one or two lines, as most pieces are."""
    end = data.find(b"\n")
    last = len(data) - 2
    return end == last or (data.find(b"\n", end + 1) == last > end + 1)


def split(rest: bytes, data: bytes) -> tuple[list[bytes], bytes]:
    """The events that are whole once ``data`` follows ``rest``, as they came, and what is left."""
    whole, found, at = rest + data, [], 0
    for match in BLANK.finditer(whole, max(0, len(rest) - 2)):
        found.append(whole[at : match.end()])
        at = match.end()
    return found, whole[at:]


def is_stream(body: bytes) -> bool:
    """Whether an answer came as events, whatever its head says."""
    padding = PADDING + b"\r\n"
    return (body[:1024].lstrip(padding) or body.lstrip(padding)).startswith(_KNOWN)


def encode(event: str, data: bytes) -> bytes:
    """One event on the wire; ``data`` must be JSON on one line."""
    return b"event: %b\ndata: %b\n\n" % (event.encode("utf-8", "replace"), data)
