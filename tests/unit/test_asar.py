"""Reading and rewriting ASAR archives made here: shared bytes, and archives that lie."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from shim.codex import asar
from shim.codex.asar import AsarError

ROOM = 200


def pack(path: Path, header: object, data: bytes = b"x" * ROOM) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    padded = text + b"\0" * (-len(text) % 4)
    head = struct.pack("<4I", 4, len(padded) + 8, len(padded) + 4, len(text))
    path.write_bytes(head + padded + data)
    return path


def one(**node: object) -> dict[str, Any]:
    return {"files": {"a.js": node}}


def test_files_that_share_their_bytes_are_changed_apart(tmp_path: Path) -> None:
    data = b"same" + b"tail"
    spot = {"size": 4, "offset": "0"}
    header = {
        "files": {
            "a": dict(spot),
            "b": dict(spot),
            "c": dict(spot),
            "d": {"size": 4, "offset": "4"},
        }
    }
    archive = asar.read(pack(tmp_path / "in", header, data))
    written = asar.write(archive, tmp_path / "out", {"b": b"changed"})
    texts = {name: written.read(name) for name in written.files}
    assert texts == {"a": b"same", "b": b"changed", "c": b"same", "d": b"tail"}
    assert written.files["a"].offset == written.files["c"].offset
    assert archive.files["b"].node == spot, "the archive that was read stays as it was"


def test_what_is_not_known_rides_along(tmp_path: Path) -> None:
    header = {
        "more": [1, None],
        "files": {
            "z.js": {"size": 2, "offset": "1", "executable": True, "new": {"x": "é"}},
            "ö": {"files": {"u.node": {"size": 9, "unpacked": True}}, "unpacked": True},
            "link": {"link": "ö/u.node"},
        },
    }
    archive = asar.read(pack(tmp_path / "in", header, b"-ab--"))
    written = asar.write(archive, tmp_path / "out", {"z.js": b"longer"})
    header["files"]["z.js"] |= {"size": 6, "offset": "0"}  # type: ignore[index]
    assert written.header == header
    assert list(written.header["files"]) == ["z.js", "ö", "link"], "in the order they had"
    raw = (tmp_path / "out").read_bytes()
    length = struct.unpack("<I", raw[12:16])[0]
    assert written.hash == hashlib.sha256(raw[16 : 16 + length]).hexdigest()
    assert raw.endswith(b"longer")


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 2048, 5000])
def test_hashes_are_of_blocks(tmp_path: Path, size: int) -> None:
    integrity = {"algorithm": "SHA256", "blockSize": 1024, "hash": "", "blocks": []}
    archive = asar.read(pack(tmp_path / "in", one(size=3, offset="0", integrity=integrity)))
    content = bytes(n % 251 for n in range(size))
    node = asar.write(archive, tmp_path / "out", {"a.js": content}).files["a.js"].node
    blocks = [content[at : at + 1024] for at in range(0, size + 1, 1024)]
    assert node["integrity"] == {
        "algorithm": "SHA256",
        "blockSize": 1024,
        "hash": hashlib.sha256(content).hexdigest(),
        "blocks": [hashlib.sha256(block).hexdigest() for block in blocks],
    }


def test_bytes_that_are_not_those_of_the_hashes_are_seen(tmp_path: Path) -> None:
    integrity = {"algorithm": "SHA256", "blockSize": 1024, "hash": "0" * 64, "blocks": ["0" * 64]}
    archive = asar.read(pack(tmp_path / "in", one(size=3, offset="0", integrity=integrity)))
    with pytest.raises(AsarError, match=r"the bytes of a\.js are not those"):
        archive.check()
    with pytest.raises(AsarError, match=r"the bytes of a\.js are not those"):
        asar.write(archive, tmp_path / "out", {})


DEEP = b'{"files":' + b'{"a":{"files":' * 100_000 + b"{}" + b"}}" * 100_000 + b"}"

LIES = {
    "no JSON": (b"{", "not JSON"),
    "no UTF-8": (b'{"files":{"\xff\xfe":{}}}', "not JSON"),
    "a number of ten thousand digits": (
        b'{"files":{"a":{"size":' + b"9" * 10_000 + b"}}}",
        "not JSON",
    ),
    "nested too deep": (DEEP, "not JSON"),
    "a list": ([], "no list of files"),
    "no files": ({"files": []}, "no list of files"),
    "a file that is text": ({"files": {"a": "b"}}, "a file that is none"),
    "a folder that is a list": ({"files": {"a": {"files": []}}}, "a folder that is none"),
    "up": ({"files": {"..": {"files": {"x": {"size": 1, "offset": "0"}}}}}, "leads elsewhere"),
    "a path": ({"files": {"../../etc/x": {"size": 1, "offset": "0"}}}, "leads elsewhere"),
    "a path of Windows": ({"files": {"a\\b": {"size": 1, "offset": "0"}}}, "leads elsewhere"),
    "a NUL": ({"files": {"a\0": {"size": 1, "offset": "0"}}}, "leads elsewhere"),
    "no name": ({"files": {"": {"size": 1, "offset": "0"}}}, "leads elsewhere"),
    "a link up": ({"files": {"a": {"link": "b/../../x"}}}, "leads out"),
    "a link to the root": ({"files": {"a": {"link": "/etc/passwd"}}}, "leads out"),
    "a link to a drive": ({"files": {"a": {"link": "C:\\x"}}}, "leads out"),
    "a link that is none": ({"files": {"a": {"link": 5}}}, "leads out"),
    "no size": (one(offset="0"), "without a size"),
    "no offset": (one(size=1), "without a size"),
    "a size below zero": (one(size=-1, offset="0"), "without a size"),
    "an offset below zero": (one(size=1, offset="-1"), "without a size"),
    "a size that is true": (one(size=True, offset="0"), "without a size"),
    "a size that is a fraction": (one(size=1.5, offset="0"), "without a size"),
    "an endless size": (b'{"files":{"a":{"size":Infinity,"offset":"0"}}}', "without a size"),
    "an offset in other digits": (one(size=1, offset="١"), "without a size"),
    "an offset of twenty digits": (one(size=1, offset="9" * 20), "without a size"),
    "a size past the end": (one(size=ROOM + 1, offset="0"), "ends after the archive does"),
    "an offset past the end": (one(size=1, offset="9" * 19), "ends after the archive does"),
}


@pytest.mark.parametrize(("header", "said"), LIES.values(), ids=list(LIES))
def test_a_header_that_lies_is_refused_in_a_sentence(
    tmp_path: Path, header: object, said: str
) -> None:
    path = pack(tmp_path / "a.asar", header)
    with pytest.raises(AsarError) as refused:
        asar.read(path)
    assert said in str(refused.value) and str(path) in str(refused.value)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"", "too few"),
        (b"\4\0\0\0", "too few"),
        (b"PK\3\4" + b"\0" * 40, "no ASAR archive"),
        (struct.pack("<4I", 4, 0xFFFFFFFF, 0xFFFFFFFB, 0xFFFFFFF0), "too large to be true"),
        (struct.pack("<4I", 4, 1000, 996, 990), "cut short"),
        (struct.pack("<4I", 4, 20, 16, 13) + b"{}" + b" " * 20, "no ASAR archive"),
        (struct.pack("<4I", 4, 20, 30, 2) + b"{}" + b" " * 20, "no ASAR archive"),
        (struct.pack("<4I", 4, 8, 4, 0) + b" " * 20, "no ASAR archive"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, head: bytes, said: str) -> None:
    path = tmp_path / "a.asar"
    path.write_bytes(head)
    with pytest.raises(AsarError, match=said):
        asar.read(path)


def test_wherever_it_is_cut_it_is_refused(tmp_path: Path) -> None:
    whole = pack(tmp_path / "whole", one(size=ROOM, offset="0")).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(AsarError):
            asar.read(tmp_path / "cut")


@pytest.mark.parametrize(
    "integrity",
    [5, {}, {"algorithm": "MD5"}, {"algorithm": "SHA256", "blockSize": 1}, {"algorithm": "SHA256", "blockSize": "4"}],
)  # fmt: skip
def test_hashes_of_another_kind_are_refused(tmp_path: Path, integrity: object) -> None:
    archive = asar.read(pack(tmp_path / "in", one(size=3, offset="0", integrity=integrity)))
    with pytest.raises(AsarError, match="a kind that is not known"):
        asar.write(archive, tmp_path / "out", {"a.js": b"new"})


def test_files_that_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    header = {"files": {"a": {"size": 9, "offset": "0"}, "b": {"size": 9, "offset": "5"}}}
    with pytest.raises(AsarError, match="b lies over another file"):
        asar.write(asar.read(pack(tmp_path / "in", header)), tmp_path / "out", {"a": b""})


def test_a_name_that_is_no_text_is_refused_when_it_is_written(tmp_path: Path) -> None:
    header = rb'{"files":{"\ud800":{"size":1,"offset":"0"}}}'
    with pytest.raises(AsarError, match="cannot be written again"):
        asar.write(asar.read(pack(tmp_path / "in", header)), tmp_path / "out", {})


def test_an_archive_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    archive = asar.read(pack(tmp_path / "in", one(size=ROOM, offset="0")))
    with (tmp_path / "in").open("r+b") as file:
        file.truncate(archive.start + 5)
    with pytest.raises(AsarError, match="cut short while"):
        archive.read("a.js")
