"""Chunks in one read come as one piece, and nothing waits for a chunk that has not come."""

from __future__ import annotations

import pytest
from h11 import Data, EndOfMessage, LocalProtocolError
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer
from hypothesis import given
from hypothesis import strategies as st

from addons.gather import Gathered

CHUNKS = st.lists(st.binary(min_size=1, max_size=200), max_size=12)
EXTENSIONS = st.sampled_from([b"", b";name=value", b"; q"])


def read(reader: object, pieces: list[bytes]) -> list[tuple[bytes, object]]:
    """After each piece: the bytes that came out, and how it ended (None: more may come)."""
    buffer, out = ReceiveBuffer(), []
    for piece in pieces:
        buffer += piece
        data, end = b"", None
        while end is None:
            try:
                event = reader(buffer)  # type: ignore[operator]
            except LocalProtocolError:
                end = "error"
                break
            if event is None:
                break
            if isinstance(event, EndOfMessage):
                end = list(event.headers)
            else:
                assert event.data, "an empty chunk ends an answer"
                data += event.data
        out.append((data, end))
        if end is not None:
            break
    return out


@given(CHUNKS, EXTENSIONS, st.sampled_from([b"\r\n", b"a: b\r\n\r\n"]), st.data())
def test_it_reads_what_h11_reads_at_every_cut(
    chunks: list[bytes], extension: bytes, trailer: bytes, data: st.DataObject
) -> None:
    wire = b"".join(b"%x%b\r\n%b\r\n" % (len(c), extension, c) for c in chunks)
    wire += b"0\r\n" + trailer
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(wire)))
        wire = wire[:at] + data.draw(st.binary(max_size=3)) + wire[at:]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert read(Gathered(ChunkedReader()), pieces) == read(ChunkedReader(), pieces)


def test_many_chunks_are_one_piece() -> None:
    buffer = ReceiveBuffer()
    buffer += b"5\r\nhello\r\n" * 200 + b"5\r\nhel"
    reader = Gathered(ChunkedReader())
    first = reader(buffer)
    assert isinstance(first, Data) and first.data == b"hello" * 200 + b"hel"
    assert reader(buffer) is None


def test_the_end_of_a_connection_is_told_as_h11_tells_it() -> None:
    reader = Gathered(ChunkedReader())
    with pytest.raises(Exception, match="incomplete chunked read"):
        reader.read_eof()
