"""HTTP/1 as mitmproxy speaks it, mended in two places where a client of the chain would be left
without an answer that it can read.

Trailers (RFC 9110, section 6.5) end a connection with a traceback, and who waits waits for ever:
they are dropped, as a recipient may. What no hook can answer is answered in HTML: here it is JSON
that clients of every protocol read. Where mitmproxy's inside is not as expected, all stays as it
is.
"""

from __future__ import annotations

from typing import Any

from h11 import EndOfMessage
from h11._readers import ChunkedReader
from mitmproxy import http
from mitmproxy.net.http import http1
from mitmproxy.proxy.layers.http import _http1

from shim.exchange.replies import JSON, for_anybody
from shim.shown import line


class WithoutTrailers(ChunkedReader):
    """Reads a chunked body to its end, and what may stand behind that."""

    def __call__(self, buf: Any) -> Any:
        event = super().__call__(buf)
        return EndOfMessage() if isinstance(event, EndOfMessage) else event


def error_response(status_code: int, message: str = "") -> bytes:
    """What a client gets for what mitmproxy refuses, and for an upstream that has not answered."""
    body = for_anybody(f"interpose: {line(message)}", status_code)
    headers = {**JSON, "connection": "close"}
    return http1.assemble_response(http.Response.make(status_code, body, headers))


def install() -> None:
    """Have both in mitmproxy, once."""
    inside: Any = _http1
    if getattr(inside, "ChunkedReader", None) is ChunkedReader:
        inside.ChunkedReader = WithoutTrailers
    if hasattr(inside, "make_error_response"):
        inside.make_error_response = error_response
