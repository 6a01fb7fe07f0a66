"""Bodies in flow files: long ones are compressed as HTTP may compress them, so that any mitmproxy
reads them, and marked, so that nobody takes this for what was sent.
"""

from __future__ import annotations

from collections.abc import Iterable

from .bodies import Body, alone

type Headers = list[tuple[bytes, bytes]]

#: Holds the length that the body had.
MARK = b"x-interpose-packed"
#: Shorter ones stay as they are.
LEAST = 4096
CODING = b"content-encoding"
_LENGTH = b"content-length"


def pack(headers: Headers, body: bytes | Body) -> tuple[Headers, bytes]:
    """``headers`` and ``body`` as they are written down."""
    if len(body) < LEAST or any(name.lower() == CODING for name, _ in headers):
        return headers, bytes(body)
    data = (body if isinstance(body, Body) else alone(body)).packed()
    length = b"%d" % len(data)
    kept = [(n, length if n.lower() == _LENGTH else v) for n, v in headers]
    return [*kept, (CODING, b"zstd"), (MARK, b"%d" % len(body))], data


def plain(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """``headers`` for a body as it reads."""
    return [(n, v) for n, v in headers if n.lower() not in (CODING, MARK)]
