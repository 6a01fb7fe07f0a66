"""Between mitmproxy's flows and the values that the stages hand on."""

from __future__ import annotations

import time

from mitmproxy import http
from mitmproxy.proxy.mode_specs import ReverseMode

from shim.exchange.upstream_request import fields_of
from shim.exchange.values import (
    ClientRequest,
    Endpoint,
    Fields,
    Head,
    Reply,
    UpstreamRequest,
    headers_of,
)
from shim.record.redact import redactor
from shim.shown import field_value

#: A port that nobody can listen on: the address of what has nowhere to go.
NOWHERE = ("127.0.0.1", 0)
_USUAL_PORTS = {"http": 80, "https": 443}
#: Other versions are the client's affair: mitmproxy itself speaks HTTP/1.1.
_VERSIONS = frozenset({b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0"})


def client_request(flow: http.HTTPFlow) -> ClientRequest:
    """The request of ``flow`` as its client sent it, without its body."""
    data = flow.request.data
    peer, local = flow.client_conn.peername, flow.client_conn.sockname
    return ClientRequest(
        id=flow.id,
        method=_text(data.method),
        scheme=_text(data.scheme) or "http",
        host=data.host,
        port=data.port,
        authority=flow.request.host_header or "",
        path=_text(data.path),
        http_version=_text(data.http_version),
        fields=data.headers.fields,
        headers=headers_of(data.headers.fields),
        peer=str(peer[0]) if peer else "",
        local=("http", str(local[0]), int(local[1])) if local else ("http", "", 0),
        reverse=_reverse(flow),
        started=data.timestamp_start or time.time(),
        encrypted=flow.client_conn.tls,
    )


def upstream_request(value: UpstreamRequest, client: http.Request) -> http.Request:
    """``value`` as mitmproxy sends it, in the version of HTTP in which ``client`` came."""
    usual = _USUAL_PORTS[value.scheme] == value.port
    host = f"[{value.host}]" if ":" in value.host else value.host
    authority = (host if usual else f"{host}:{value.port}").encode()
    version = client.data.http_version
    version = version if version in _VERSIONS else b"HTTP/1.1"
    # HTTP/2 has a field of its own for it.
    second = version == b"HTTP/2.0"
    named = any(f[0].lower() == b"host" for f in value.fields)
    fields = value.fields if second or named else ((b"host", authority), *value.fields)
    return http.Request(
        value.host,
        value.port,
        value.method.encode(),
        value.scheme.encode(),
        authority if second else b"",
        value.path.encode("utf-8", "surrogateescape"),
        version,
        clean(fields),
        value.body,
        None,
        client.timestamp_start,
        client.timestamp_end,
    )


def as_sent(value: ClientRequest, client: http.Request) -> http.Request:
    """The client's own request again, as whoever looks at the flow should see it."""
    data = client.data
    return http.Request(
        value.host,
        value.port,
        data.method,
        data.scheme,
        data.authority,
        data.path,
        data.http_version,
        http.Headers(value.fields),
        value.body,
        None,
        data.timestamp_start,
        data.timestamp_end,
    )


def response(reply: Reply) -> http.Response:
    """``reply`` as mitmproxy sends it."""
    made = http.Response.make(reply.status, reply.body)
    made.headers = clean(fields_of(reply.headers))
    made.headers["content-length"] = str(len(reply.body))
    return made


def clean(fields: Fields) -> http.Headers:
    """``fields`` as they may be sent: what ends a line in a value would begin another field (RFC
    9110, section 5.5)."""
    return http.Headers(tuple((name, field_value(value)) for name, value in fields))


def clean_answer(response: http.Response) -> None:
    """Take out of a head that came what no head may hold: HTTP/2 lets lines end in it, and HTTP/1
    knows fields of several lines."""
    data = response.data
    data.headers, data.reason = clean(data.headers.fields), field_value(data.reason)


def cleaned(request: http.Request, secrets: frozenset[str] = frozenset()) -> None:
    """Take the keys out of a request that is not recorded but may be seen or saved (``-w``)."""
    redact = redactor(secrets)
    request.headers = http.Headers(redact.headers(request.headers.fields))
    request.path = redact.path(request.path)
    if request.raw_content:
        request.raw_content = redact.deep(request.raw_content)


def head_of(response: http.Response) -> Head:
    """An answer without its body."""
    data = response.data
    started = data.timestamp_start or time.time()
    fields = data.headers.fields
    return Head(
        data.status_code,
        _text(data.reason),
        _text(data.http_version),
        fields,
        headers_of(fields),
        started,
    )


def _reverse(flow: http.HTTPFlow) -> Endpoint | None:
    mode = flow.client_conn.proxy_mode
    if not isinstance(mode, ReverseMode):
        return None
    return ("http" if mode.scheme == "http" else "https"), *mode.address


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
