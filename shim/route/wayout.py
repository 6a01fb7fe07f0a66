"""The way out of a company network: the proxy that HTTPS_PROXY names, unless NO_PROXY exempts."""

from __future__ import annotations

import base64
import urllib.request
from functools import lru_cache
from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec

from ..client import is_loopback


class WayOut(msgspec.Struct, frozen=True):
    """An HTTP proxy to go through; ``authorization`` is what it wants to see, if anything."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    authorization: str = ""


@lru_cache(maxsize=256)
def way_out(scheme: str, host: str) -> WayOut | None:
    """The proxy that the environment names for ``host``; None to go there directly.

    Reads the variables every tool knows (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, in either
    case). This machine is never reached by way of a proxy.
    """
    if is_loopback(host):
        return None
    proxies = urllib.request.getproxies_environment()
    named = proxies.get(scheme) or proxies.get("all")
    if not named:
        return None
    if urllib.request.proxy_bypass_environment(host, proxies):  # type: ignore[attr-defined]
        return None
    url = urlsplit(named if "://" in named else f"http://{named}")
    if not url.hostname or url.scheme not in ("http", "https"):
        return None
    login = ""
    if url.username:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        login = f"Basic {base64.b64encode(pair.encode()).decode()}"
    if url.scheme == "https":
        return WayOut("https", url.hostname, url.port or 443, login)
    return WayOut("http", url.hostname, url.port or 80, login)
