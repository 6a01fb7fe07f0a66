"""Chunks that have already arrived go through the chain as one.

mitmproxy gives each chunk of an answer its own event, and each event its own write. An upstream
faster than the proxy leaves many chunks in one read; together they cost little more than one.
Nothing waits here for a chunk that is still to come.
"""

from __future__ import annotations

import re
from typing import Any

from h11 import Data, LocalProtocolError
from h11._readers import ChunkedReader
from mitmproxy import ctx, http
from mitmproxy.proxy.layers.http import HttpLayer

_SIZE = re.compile(rb"([0-9a-fA-F]{1,20})(?:;[^\r\n]*)?\r\n")
#: Fewer bytes hold no second chunk.
_WORTHWHILE = 64


class Gathered:
    """A reader of chunked bodies that gives all its buffer holds as one piece.

    Whole chunks are read here, everything else (the rest of a chunk, trailers, what is wrong) by
    h11's own ``reader``. Source: RFC 9112, section 7.1.
    """

    def __init__(self, reader: ChunkedReader) -> None:
        self._reader = reader
        self._next: Any = None

    def __call__(self, buffer: Any) -> Any:
        """Data, EndOfMessage or None; LocalProtocolError after the data that came before it."""
        if (event := self._next) is not None:
            self._next = None
            if isinstance(event, LocalProtocolError):
                raise event
            return event
        parts: list[bytes] = []
        try:
            while True:
                parts += self._whole(buffer)
                if not isinstance(event := self._reader(buffer), Data):
                    break
                parts.append(event.data)
        except LocalProtocolError as e:
            if not parts:
                raise
            event = e
        if not parts:
            return event
        self._next = event
        return Data(data=b"".join(parts))

    def read_eof(self) -> Any:
        return self._reader.read_eof()

    def _whole(self, buffer: Any) -> list[bytes]:
        """Take the chunks that are in ``buffer`` from size to end."""
        reader = self._reader
        if reader._bytes_in_chunk or reader._reading_trailer or len(buffer) < _WORTHWHILE:
            return []
        data = bytes(buffer)
        # The line end of the last chunk is still in the buffer.
        at = len(reader._bytes_to_discard)
        if data[:at] != reader._bytes_to_discard:
            return []
        parts = []
        done = 0
        while size := _SIZE.match(data, at):
            begin = size.end()
            end = begin + int(size[1], 16)
            if data[end : end + 2] != b"\r\n" or begin == end:
                break
            parts.append(data[begin:end])
            done = at = end + 2
        if done:
            buffer.maybe_extract_at_most(done)
            reader._bytes_to_discard = b""
        return parts


def gather(flow: http.HTTPFlow) -> None:
    """From now on, what has arrived of the answer to ``flow`` comes as one piece.

    Does nothing where mitmproxy's inside is not as expected: then chunks come one by one.
    """
    try:
        handler = ctx.master.addons.get("proxyserver").connections[flow.client_conn.id]
        (http_layer,) = (x for x in handler.layer.context.layers if isinstance(x, HttpLayer))
        layers: list[Any] = http_layer.connections[flow.server_conn].context.layers
        for layer in layers:
            if isinstance(reader := getattr(layer, "body_reader", None), ChunkedReader):
                layer.body_reader = Gathered(reader)
    except (AttributeError, KeyError, ValueError):
        return
