"""Who a request is from behind a reverse proxy: what a trusted one says in X-Forwarded-*.

X-Forwarded-For is walked from its end, since each proxy adds to it whom it was asked by: the first
address that is no trusted proxy's is the client's, and what stands before it anybody may have
written. Of protocol and host the last value counts, which the nearest proxy has set.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec

from .values import ClientRequest

type Network = IPv4Network | IPv6Network

#: The address of a client that its proxy does not tell.
_UNKNOWN = "unknown"


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks (10.0.0.0/8) from an option. ValueError names what is none."""
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ip_network(text.strip(), strict=False))
        except ValueError:
            raise ValueError(f"{text!r} is no address and no network such as 10.0.0.0/8") from None
    return tuple(found)


def forwarded(request: ClientRequest, trusted: tuple[Network, ...]) -> ClientRequest:
    """``request`` with its client's own address, host and protocol, where a trusted proxy brought
    it; as it came otherwise."""
    if not trusted or not _is_trusted(_address(request.peer), trusted):
        return request
    peer = request.peer
    for text in reversed(_values(request, b"x-forwarded-for")):
        address = _address(text)
        peer = str(address) if address else _UNKNOWN
        if not _is_trusted(address, trusted):
            break
    protocols, hosts = _values(request, b"x-forwarded-proto"), _values(request, b"x-forwarded-host")
    return msgspec.structs.replace(
        request,
        peer=peer,
        authority=hosts[-1] if hosts else request.authority,
        encrypted=protocols[-1].lower() == "https" if protocols else request.encrypted,
    )


def _values(request: ClientRequest, name: bytes) -> list[str]:
    """All values of a header field, which may come several times, and as a list."""
    found = [value.decode("latin-1") for key, value in request.fields if key.lower() == name]
    return [text.strip() for value in found for text in value.split(",") if text.strip()]


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, with or without a port; None for what is none."""
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_trusted(address: IPv4Address | IPv6Address | None, trusted: tuple[Network, ...]) -> bool:
    return address is not None and any(address in network for network in trusted)
