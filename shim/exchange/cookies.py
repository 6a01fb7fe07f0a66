"""The cookie of a browser that has signed in: how it is set, read, and kept from everybody else."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .values import ClientRequest, Fields

_NAME = "interpose-"
#: A browser takes a cookie of such a name over TLS only, and from this very host (RFC 6265bis).
_SECURE = "__Host-"


def set_cookie(request: ClientRequest, token: str, seconds: int) -> str:
    """The value of Set-Cookie that has the browser of ``request`` send ``token`` from now on."""
    more = "; Secure" if request.encrypted else ""
    words = f"Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{more}"
    return f"{_name(request)}={token}; {words}"


def signed_in(request: ClientRequest) -> str:
    """The token that the browser of ``request`` holds; empty when it sends none."""
    name = _name(request)
    return next((value for key, value in _cookies(request) if key == name), "")


def without_ours(request: ClientRequest) -> ClientRequest:
    """``request`` without cookies of any chain's: they are no provider's business."""
    if not any(_is_ours(name) for name, _ in _cookies(request)):
        return request
    fields: list[tuple[bytes, bytes]] = []
    for field in request.fields:
        if field[0].lower() == b"cookie":
            kept = [piece for piece in field[1].split(b";") if not _is_ours(_split(piece)[0])]
            field = (field[0], b";".join(kept).strip())
        if field[0].lower() != b"cookie" or field[1]:
            fields.append(field)
    headers = {k: v for k, v in request.headers.items() if k != "cookie"}
    left = [value for key, value in fields if key.lower() == b"cookie"]
    if left:
        headers["cookie"] = b"; ".join(left).decode("latin-1")
    kept_fields: Fields = tuple(fields)
    return msgspec.structs.replace(request, fields=kept_fields, headers=headers)


def _name(request: ClientRequest) -> str:
    """Chains at several ports of one host share its cookies."""
    return f"{_SECURE if request.encrypted else ''}{_NAME}{request.local[2]}"


def _is_ours(name: str) -> bool:
    return name.removeprefix(_SECURE).startswith(_NAME)


def _cookies(request: ClientRequest) -> Iterator[tuple[str, str]]:
    """All cookies; HTTP/2 may send each in a field of its own."""
    if "cookie" not in request.headers:
        return
    for key, value in request.fields:
        if key.lower() == b"cookie":
            yield from map(_split, value.split(b";"))


def _split(piece: bytes) -> tuple[str, str]:
    name, _, value = piece.decode("latin-1").strip().partition("=")
    return name, value
