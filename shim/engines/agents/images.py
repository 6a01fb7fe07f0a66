"""Images of a request as files that an agent may open, in a private folder that goes with the turn.

Taken are ``data:`` URLs, files below a folder that the policy names, and http(s) addresses that
belong to no private network. What an image is, its own first bytes say, not its name.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import os
import socket
import stat
import struct
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urljoin, urlsplit

from .process import AgentError

#: Images per request, bytes of one, and points of one once it is decoded.
MOST, MOST_BYTES, MOST_POINTS = 16, 20 * 1024 * 1024, 50_000_000
_PATIENCE = 20.0
_REDIRECTS = 3


class BadImage(AgentError):
    """An image that is not taken, and why."""

    def __init__(self, why: str) -> None:
        super().__init__(why, 400, "invalid_image")


async def fetch(urls: list[str], folder: Path, root: Path | None) -> list[Path]:
    """The files that ``urls`` have become in ``folder``. BadImage for the first that cannot."""
    if len(urls) > MOST:
        raise BadImage(f"{len(urls)} images in one request; at most {MOST} are taken")
    made = []
    for number, url in enumerate(urls, 1):
        try:
            data = await _data(url, root)
            made.append(await asyncio.to_thread(_keep, data, folder / f"image-{number}"))
        except BadImage as e:
            raise BadImage(f"image {number}: {e}") from None
    return made


def _keep(data: bytes, path: Path) -> Path:
    kind, width, height = measure(data)
    if not 0 < width * height <= MOST_POINTS:
        said = f"it has {width} x {height} points; at most {MOST_POINTS:,} are taken"
        raise BadImage(said)
    path = path.with_suffix(f".{kind}")
    path.write_bytes(data)
    return path


async def _data(url: str, root: Path | None) -> bytes:
    scheme = url.partition(":")[0].lower()
    if scheme == "data":
        return await asyncio.to_thread(_inline, url)
    if scheme == "file":
        return await asyncio.to_thread(_file, url, root)
    if scheme in ("http", "https"):
        try:
            return await asyncio.wait_for(_load(url), _PATIENCE)
        except TimeoutError:
            raise BadImage("its address did not answer in time") from None
    raise BadImage("it must be a data:, http:, https: or file: URL")


def _inline(url: str) -> bytes:
    head, comma, rest = url.partition(",")
    if not comma or len(rest) > 2 * MOST_BYTES:
        raise BadImage("it is too large" if comma else "the data: URL has no data")
    if not head.lower().endswith(";base64"):
        return _bounded(unquote_to_bytes(rest))
    try:
        return _bounded(base64.b64decode("".join(unquote(rest).split()), validate=True))
    except (binascii.Error, ValueError):
        raise BadImage("its Base64 is broken") from None


def _file(url: str, root: Path | None) -> bytes:
    """The file's content; no path leads out of ``root``, by links neither."""
    if root is None:
        raise BadImage("files are not taken; the policy names no folder in images_from")
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or "\0" in path:
        raise BadImage("the file: URL names another machine or no path")
    if not os.path.isabs(path):
        raise BadImage("the path of its file: URL is not absolute")
    try:
        root = root.expanduser().resolve(strict=True)
        found = Path(path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        # Whether a file outside exists is not for a client to learn.
        raise BadImage("no such file in the folder that the policy allows") from None
    if not found.is_relative_to(root):
        raise BadImage("no such file in the folder that the policy allows")
    try:
        descriptor = os.open(found, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _NO_LINK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BadImage("it is no regular file")
            return _bounded(file.read(MOST_BYTES + 1))
    except OSError:
        raise BadImage("no such file in the folder that the policy allows") from None


_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


async def _load(url: str) -> bytes:
    import httpx

    for _ in range(_REDIRECTS + 1):
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise BadImage("its address is none") from None
        if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
            raise BadImage("its address must be http(s), without a user name")
        port = port or (443 if parts.scheme == "https" else 80)
        address = await _public(host, port)
        # Asked at the address that was looked at: a name may lead elsewhere the next time.
        shown = f"[{address}]" if ":" in address else address
        target = parts._replace(netloc=f"{shown}:{port}", fragment="").geturl()
        # Compressed, a few bytes could become any number of them.
        headers = {"host": parts.netloc, "accept": "image/*", "accept-encoding": "identity"}
        extensions = {"sni_hostname": host}
        try:
            async with (
                httpx.AsyncClient(trust_env=False, timeout=_PATIENCE) as client,
                client.stream("GET", target, headers=headers, extensions=extensions) as answer,
            ):
                if answer.is_redirect:
                    url = urljoin(url, answer.headers.get("location", ""))
                    continue
                if answer.status_code != 200:
                    raise BadImage(f"its address answers with status {answer.status_code}")
                if answer.headers.get("content-encoding", "identity").lower() != "identity":
                    raise BadImage("its address answers with compressed data")
                data = bytearray()
                async for piece in answer.aiter_raw():
                    data += piece
                    if len(data) > MOST_BYTES:
                        break
                return _bounded(bytes(data))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            raise BadImage("its address cannot be read") from None
    raise BadImage("its address leads to too many others")


async def _public(host: str, port: int) -> str:
    """An address of ``host``. BadImage unless all of them are on the open internet."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=socket.AF_UNSPEC
        )
    except (OSError, UnicodeError):
        raise BadImage("the host of its address is not known") from None
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    if not addresses or not all(is_public(a) for a in addresses):
        raise BadImage("its address is in a private network")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether ``address`` is one of the open internet, also behind the ways IPv6 wraps IPv4."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _UNICAST or ip.packed[9:12] == _ISATAP:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: What the internet's addresses begin with. Source: IANA's registry of IPv6's address space.
_UNICAST = ipaddress.ip_network("2000::/3")
#: What stands before an IPv4 address that is wrapped. Source: RFC 5214, section 6.1.
_ISATAP = b"\x00\x5e\xfe"


def _bounded(data: bytes) -> bytes:
    if len(data) > MOST_BYTES:
        raise BadImage(f"it is larger than {MOST_BYTES // 1024 // 1024} MB")
    return data


def measure(data: bytes) -> tuple[str, int, int]:
    """(kind, width, height) of a PNG, JPEG, GIF or WebP image. BadImage when it is none."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            return ("png", *struct.unpack(">II", data[16:24]))
        if data[:6] in (b"GIF87a", b"GIF89a"):
            return ("gif", *struct.unpack("<HH", data[6:10]))
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and data[12:16] in _WEBP:
            return ("webp", *_webp(data))
        if data.startswith(b"\xff\xd8"):
            return ("jpg", *_jpeg(data))
    except (struct.error, IndexError):
        pass
    raise BadImage("it is no PNG, JPEG, GIF or WebP image")


_WEBP = (b"VP8 ", b"VP8L", b"VP8X")


def _webp(data: bytes) -> tuple[int, int]:
    """Sources: RFC 9649, sections 2.5 to 2.7; RFC 6386, section 9.1."""
    kind = data[12:16]
    if kind == b"VP8X":
        if len(data) < 30:
            raise IndexError
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _jpeg(data: bytes) -> tuple[int, int]:
    """The size in the frame header. Source: ITU-T T.81, annex B."""
    at = 2
    while at < len(data):
        if data[at] != 0xFF:
            break
        mark = data[at + 1]
        if mark == 0xFF:
            at += 1
            continue
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        if length < 2:
            break
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + length
    raise IndexError
