"""Content encodings: what is unpacked, how far, and what is refused by its name."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from shim.exchange.encodings import EncodingError, coding_of, decode, readable

TEXT = b'{"model": "m", "input": "hello hello hello"}' * 50
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}
STACKED = brotli.compress(gzip.compress(TEXT))


@pytest.mark.parametrize("name", PACK)
def test_there_and_back(name: str) -> None:
    packed = PACK[name](TEXT)
    assert decode(packed, name.upper()) == TEXT == readable(packed, name, 1 << 20)[0]
    with pytest.raises(EncodingError) as raised:
        decode(packed[:-5], name)
    assert raised.value.status == 400 and name in str(raised.value)


@pytest.mark.parametrize("header", ["gzip, br", "identity, gzip , ,br"])
def test_several_are_taken_off_from_behind(header: str) -> None:
    assert decode(STACKED, header) == TEXT and readable(STACKED, header, 1 << 20) == (TEXT, "")


def test_a_header_that_comes_twice_is_one_list() -> None:
    fields = [(b"Content-Encoding", b"gzip"), (b"x", b"y"), (b"content-encoding", b"br")]
    assert decode(STACKED, coding_of(fields)) == TEXT
    assert coding_of([(b"x", b"gzip")]) == ""


@pytest.mark.parametrize("name", ["rot13", "base64", "hex", "utf-8", "bz2", "snappy", "gzip rot13"])
def test_what_is_no_encoding_of_http(name: str) -> None:
    with pytest.raises(EncodingError) as raised:
        decode(TEXT, name)
    assert raised.value.status == 415
    data, why = readable(TEXT, name, 1 << 20)
    assert not data and "is not understood" in why


@pytest.mark.parametrize("name", PACK)
def test_bombs(name: str) -> None:
    bomb = PACK[name](bytes(30_000_000))
    with pytest.raises(EncodingError) as raised:
        decode(bomb, name, 1_000_000)
    assert raised.value.status == 413
    data, why = readable(bomb, name, 1_000_000)
    assert len(data) <= 1_000_000 and "more than 1000000 bytes" in why


@pytest.mark.parametrize("name", PACK)
def test_what_breaks_off_is_read_as_far_as_it_goes(name: str) -> None:
    noise = bytes(n * n % 251 for n in range(2_000_000))
    packed = PACK[name](noise)
    data, why = readable(packed[: len(packed) // 2], name, 1 << 30)
    assert (noise.startswith(data) and name in why) or data == packed[: len(packed) // 2]


def test_what_is_not_encoded_at_all_is_what_it_is() -> None:
    for name in PACK:
        assert readable(TEXT, name, 1 << 20) == (TEXT, "")
    assert readable(b"", "gzip", 1) == (b"", "")
