"""Content encodings: what counts as one, and that nothing unpacks beyond its limit."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shim.encodings import EncodingError, Limit, Unpacker, codings, decode

MB = 1024 * 1024


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: bytes(brotli.compress(data, quality=1)),
    "zstd": zstandard.ZstdCompressor().compress,
}
NAMES = sorted(PACK)


@given(st.binary(max_size=5000), st.lists(st.sampled_from(NAMES), max_size=3))
def test_there_and_back(data: bytes, names: list[str]) -> None:
    packed = data
    for name in names:
        packed = PACK[name](packed)
    assert decode(packed, ", ".join(names)) == data


SEVERAL = {
    "gzip": [gzip.compress, gzip.compress],
    "zstd": [zstandard.compress, zstandard.ZstdCompressor(write_content_size=False).compress],
    "deflate": [_raw_deflate],
    "br": [PACK["br"]],
}


@pytest.mark.parametrize("name", SEVERAL)
@given(parts=st.lists(st.binary(max_size=300), min_size=2, max_size=2), size=st.integers(1, 40))
def test_a_stream_unpacks_as_a_body_does_however_it_is_cut(
    name: str, parts: list[bytes], size: int
) -> None:
    pairs = list(zip(SEVERAL[name], parts, strict=False))
    packed = b"".join(pack(part) for pack, part in pairs)
    unpacker = Unpacker(name)
    pieces = [packed[at : at + size] for at in range(0, len(packed), size)]
    out = b"".join(part for piece in pieces for part in unpacker.feed(piece))
    assert out == decode(packed, name) == b"".join(part for _, part in pairs)


@pytest.mark.parametrize("name", NAMES)
def test_long_bodies_unpack_whole(name: str) -> None:
    data = bytes(range(256)) * 20_000 + b"\0" * 3 * MB
    assert decode(PACK[name](data), name, Limit(len(data))) == data


def test_deflate_without_its_header() -> None:
    assert decode(_raw_deflate(b"hello" * 1000), "deflate") == b"hello" * 1000


def test_several_members_and_frames() -> None:
    assert decode(gzip.compress(b"one") + gzip.compress(b"two") + b"\0\0", "gzip") == b"onetwo"
    skipped = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    packed = PACK["zstd"](b"one") + skipped + PACK["zstd"](b"two")
    assert decode(packed, "zstd") == b"onetwo"
    packer = zstandard.ZstdCompressor(write_content_size=False)
    assert decode(packer.compress(b"x" * 9999) + packer.compress(b"y"), "zstd")[-2:] == b"xy"


@pytest.mark.parametrize("header", ["", "identity", " Identity , "])
def test_no_encoding(header: str) -> None:
    assert decode(b"as it is", header) == b"as it is"


@pytest.mark.parametrize("name", ["rot13", "base64", "hex", "bz2", "utf-8", "compress", "x\r\ny"])
def test_nothing_else_is_an_encoding(name: str) -> None:
    with pytest.raises(EncodingError) as e:
        decode(b"aGVsbG8=", name)
    assert e.value.status == 415 and "gzip, deflate, br or zstd" in str(e.value)


def test_many_encodings_on_top_of_each_other_are_refused() -> None:
    assert codings("gzip, br, zstd") == ["gzip", "br", "zstd"]
    with pytest.raises(EncodingError) as e:
        codings(", ".join(["gzip"] * 4))
    assert e.value.status == 415 and "4 encodings" in str(e.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", [b"hello " * 300, bytes(range(256)) * 300])
def test_what_breaks_off_or_is_damaged(name: str, data: bytes) -> None:
    packed = PACK[name](data)
    for damaged in (packed[:-1], packed[: len(packed) // 2], packed[:3], b"{}" * 50):
        with pytest.raises(EncodingError) as e:
            decode(damaged, name, Limit(100_000))
        assert e.value.status in (400, 413)
        assert name in str(e.value) or e.value.status == 413


@pytest.mark.parametrize("name", NAMES)
def test_a_body_may_fill_its_limit_and_not_exceed_it(name: str) -> None:
    packed = PACK[name](b"\0" * 100_000)
    assert len(decode(packed, name, Limit(100_000))) == 100_000
    with pytest.raises(EncodingError) as e:
        decode(packed, name, Limit(99_999))
    assert e.value.status == 413


@pytest.mark.parametrize("name", NAMES)
def test_a_bomb_takes_no_more_room_than_its_limit(name: str) -> None:
    """Nested, too: what is between two encodings counts as well."""
    bomb = PACK[name](b"\0" * 64 * MB)
    for packed, header in ((bomb, name), (PACK["gzip"](bomb), f"{name}, gzip")):
        tracemalloc.start()
        try:
            with pytest.raises(EncodingError) as e:
                decode(packed, header, Limit(4 * MB))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert e.value.status == 413
        assert peak < 8 * MB, f"{peak:,} bytes for a limit of 4 MB"


def test_what_is_between_two_encodings_counts() -> None:
    """Unpacked it would be next to nothing; on the way there it is 64 MB."""
    inner = gzip.compress(b"") * 5 + b"\0" * 64 * MB
    with pytest.raises(EncodingError) as e:
        decode(PACK["br"](inner), "gzip, br", Limit(4 * MB))
    assert e.value.status == 413


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("gzip", gzip.compress(b"") * 400_000),
        ("zstd", (b"\x50\x2a\x4d\x18" + b"\0" * 4) * 1_000_000),
        ("zstd", PACK["zstd"](b"") * 800_000),
        ("zstd", b"(\xb5/\xfd\x00X" + b"\0\0\0" * 2_500_000 + b"\1\0\0"),
        ("br", b"\x06" * 8_000_000),
        ("deflate", b"\0\0\0\xff\xff" * 1_600_000),
    ],
    ids=["members", "skipped", "frames", "blocks", "metadata", "stored"],
)
def test_a_body_of_nothing_takes_no_time(name: str, body: bytes) -> None:
    """8 MB that hold nothing: less time than as many bytes of zeros would take a few times."""
    begun = time.process_time()
    try:
        decode(body, name, Limit(8 * MB))
    except EncodingError:
        pass
    assert time.process_time() - begun < 2


def test_a_window_beyond_what_the_encoding_may_have() -> None:
    """A frame may ask for 128 MB of memory in its first bytes (RFC 9659)."""
    wide = zstandard.ZstdCompressionParameters(window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    with pytest.raises(EncodingError) as e:
        decode(packer.compress(b"x") + packer.flush(), "zstd")
    assert e.value.status == 400
