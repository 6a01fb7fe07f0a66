"""HTTP/1 as mitmproxy speaks it under the chain: trailers end no connection, errors are JSON."""

from __future__ import annotations

import json

import pytest
from h11 import Data, EndOfMessage, LocalProtocolError
from h11._receivebuffer import ReceiveBuffer
from mitmproxy.proxy.layers.http import _http1

from addons.gather import Gathered
from tests.addons.harness import Stages, stages

__all__ = ["stages"]


def read(*pieces: bytes, gathered: bool) -> tuple[bytes, bool]:
    """The body in a chunked message, and whether it has ended."""
    reader = _http1.make_body_reader(None)
    if gathered:
        reader = Gathered(reader)  # type: ignore[assignment, arg-type]
    buffer, body = ReceiveBuffer(), b""
    for piece in pieces:
        buffer += piece
        while event := reader(buffer):
            if isinstance(event, EndOfMessage):
                assert not event.headers
                return body, True
            assert isinstance(event, Data)
            body += event.data
    return body, False


@pytest.mark.parametrize("gathered", [False, True])
@pytest.mark.parametrize("trailers", [b"", b"x-a: b\r\n", b"x-a: b\r\nx-c: d\r\n"])
def test_trailers_are_dropped(stages: Stages, trailers: bytes, gathered: bool) -> None:
    data = b"5\r\nhello\r\n40\r\n%b\r\n0\r\n%b\r\n" % (b"y" * 64, trailers)
    whole = (b"hello" + b"y" * 64, True)
    assert read(data, gathered=gathered) == whole
    assert read(*(bytes([b]) for b in data), gathered=gathered) == whole


def test_what_is_no_trailer_is_refused(stages: Stages) -> None:
    with pytest.raises(LocalProtocolError):
        read(b"0\r\nno trailer\r\n\r\n", gathered=False)


@pytest.mark.parametrize("status", [400, 502])
def test_errors_are_json_that_every_client_reads(stages: Stages, status: int) -> None:
    head, _, body = _http1.make_error_response(status, "a <b> \r\n c").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status) and b"application/json" in head
    said = json.loads(body)
    assert said["type"] == "error" and "a <b>" in said["error"]["message"]
    assert said["error"].keys() == {"type", "message", "code", "param"}
