"""Images that a request brings or names: what they are, and where they may come from."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.engines.agents import images
from shim.engines.agents.images import BadImage, fetch, is_public, measure
from tests.e2e.agents import png
from tests.e2e.upstreams import Answer, Seen, Upstream

GIF = b"GIF89a" + struct.pack("<HH", 7, 5) + b"\0\0\0;"
JPEG = (
    b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc0\x00\x0b\x08" + struct.pack(">HH", 5, 7) + b"\1\1\x11\0"
)
LOSSY = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", 7, 5)
LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 6 | 4 << 14)
EXTENDED = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\6\0\0\4\0\0"
KINDS = {"png": png(7, 5), "gif": GIF, "jpg": JPEG}
WEBPS = [LOSSY, LOSSLESS, EXTENDED]


@pytest.mark.parametrize("kind", KINDS)
def test_measures(kind: str) -> None:
    assert measure(KINDS[kind]) == (kind, 7, 5)


@pytest.mark.parametrize("data", WEBPS)
def test_measures_webp(data: bytes) -> None:
    assert measure(data) == ("webp", 7, 5)


@given(st.sampled_from([*KINDS.values(), *WEBPS]), st.data())
def test_cut_or_changed_anywhere(whole: bytes, data: st.DataObject) -> None:
    """It is measured or refused; whatever is before the size is there in full."""
    cut = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if cut:
            cut[data.draw(st.integers(0, len(cut) - 1))] = data.draw(st.integers(0, 255))
    try:
        kind, width, height = measure(bytes(cut))
    except BadImage:
        return
    assert kind in ("png", "gif", "jpg", "webp") and width >= 0 and height >= 0


@given(st.binary(max_size=64))
def test_anything_else_is_refused_or_measured(data: bytes) -> None:
    for head in (b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8", b"RIFF\0\0\0\0WEBP"):
        try:
            measure(head + data)
        except BadImage:
            pass


PRIVATE = ["127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a00:1::", "2001:0:0:0:0:0:80ff:fffe", "fe80::1", "fec0::1", "fc00::1", "fd00::1", "ff02::1", "2001:db8::1", "2600:1::5efe:7f00:1", "4000::1", "100::1"]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public(address: str) -> None:
    assert is_public(address)


def taken(folder: Path, *urls: str, root: Path | None = None) -> list[Path]:
    return asyncio.run(fetch(list(urls), folder, root))


def inline(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def test_inline(tmp_path: Path) -> None:
    (path,) = taken(tmp_path, inline(GIF))
    assert (path.name, path.read_bytes()) == ("image-1.gif", GIF)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (inline(b"hello"), "no PNG, JPEG, GIF or WebP"),
        (inline(png(60_000, 60_000)), "60000 x 60000 points"),
        (inline(png(0, 5)), "0 x 5 points"),
        ("data:image/png;base64,$$$", "Base64 is broken"),
        ("data:image/png", "has no data"),
        ("data:image/png;base64," + "A" * (2 * images.MOST_BYTES + 1), "too large"),
        ("data:image/png," + "A" * (images.MOST_BYTES + 1), "larger than 20 MB"),
        ("ftp://example.com/a.png", "must be a data:"),
        ("/etc/passwd", "must be a data:"),
        ("file:///etc/passwd", "names no folder"),
        ("http://user:pw@example.com/", "without a user name"),
        ("http://[::1", "its address is none"),
        ("http:///a.png", "must be http"),
        ("http://127.0.0.1:99999/", "its address is none"),
    ],
)
def test_refused(tmp_path: Path, url: str, why: str) -> None:
    with pytest.raises(BadImage, match=why) as e:
        taken(tmp_path, url)
    assert e.value.status == 400 and str(e.value).startswith("image 1: ")
    assert not list(tmp_path.iterdir())


def test_files_below_the_folder_only(tmp_path: Path) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    (root / "deep").mkdir(parents=True)
    out.mkdir()
    (root / "deep" / "a b.gif").write_bytes(GIF)
    (tmp_path / "secret.gif").write_bytes(GIF)
    (root / "link.gif").symlink_to(tmp_path / "secret.gif")
    (root / "good.gif").symlink_to(root / "deep" / "a b.gif")
    assert taken(out, (root / "deep" / "a b.gif").as_uri(), root=root)
    assert taken(out, (root / "good.gif").as_uri(), root=root)
    secret = tmp_path / "secret.gif"
    for url in (
        secret.as_uri(),
        (root / "link.gif").as_uri(),
        f"file://{root}/../secret.gif",
        f"file://{root}/%2e%2e/secret.gif",
        f"file://{root}/deep/..%2f..%2fsecret.gif",
        f"file://{root}/none.gif",
        f"file://{root}-other/a.gif",
        "file:///proc/self/environ",
    ):
        with pytest.raises(BadImage, match="no such file in the folder"):
            taken(out, url, root=root)
    for url in (f"file://elsewhere{secret}", "file:///a%00b", "file:relative.gif"):
        with pytest.raises(BadImage, match=r"another machine or no path|not absolute"):
            taken(out, url, root=root)
    os.mkfifo(root / "pipe")
    with pytest.raises(BadImage, match="no regular file"):
        taken(out, (root / "pipe").as_uri(), root=root)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server whose name leads to the loopback, which is public for once."""

    def script(seen: Seen) -> Answer:
        where = seen.path.rpartition("/")[2]
        if where == "ok":
            return Answer(200, {"content-type": "text/html"}, [GIF])
        if where == "packed":
            return Answer(200, {"content-encoding": "br"}, [GIF])
        if where == "around":
            return Answer(302, {"location": "/around"}, [b""])
        if where == "inside":
            return Answer(302, {"location": "http://10.0.0.1/"}, [b""])
        if where == "file":
            return Answer(302, {"location": "file:///etc/passwd"}, [b""])
        if where == "large":
            return Answer(200, {}, [GIF + b"x" * images.MOST_BYTES])
        return Answer(500, {}, [b"no"])

    with Upstream(script) as upstream:
        monkeypatch.setattr(images, "is_public", lambda address: address.startswith("127."))
        yield upstream.url.removesuffix("/v1")


def test_fetched(tmp_path: Path, site: str) -> None:
    assert taken(tmp_path, f"{site}/ok")[0].read_bytes() == GIF
    for path, why in (
        ("packed", "compressed"),
        ("around", "too many others"),
        ("inside", "private network"),
        ("file", "must be http"),
        ("large", "larger than 20 MB"),
        ("none", "status 500"),
    ):
        with pytest.raises(BadImage, match=why):
            taken(tmp_path, f"{site}/{path}")


def test_a_name_is_asked_once(tmp_path: Path, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the name leads to later is not where the image is fetched."""
    port = int(site.rpartition(":")[2])
    answers = ["127.0.0.1", "10.0.0.1"]

    async def resolve(host: str, port: int, **more: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    loop = asyncio.new_event_loop()
    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    try:
        loop.run_until_complete(fetch([f"http://rebinds.example:{port}/ok"], tmp_path, None))
    finally:
        loop.close()
    assert answers == ["10.0.0.1"]


def test_one_private_address_among_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int, **more: object) -> list[object]:
        return [(socket.AF_INET, 1, 6, "", (a, port)) for a in ("8.8.8.8", "127.0.0.1")]

    loop = asyncio.new_event_loop()
    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    try:
        with pytest.raises(BadImage, match="private network"):
            loop.run_until_complete(fetch(["http://two.example/"], tmp_path, None))
    finally:
        loop.close()
