"""Aiming: the request a flow gets for its upstream, with the headers that one asks for."""

from __future__ import annotations

from mitmproxy import http
from mitmproxy.proxy.mode_specs import ReverseMode

from addons.exchange import Exchange, fields
from shim.client import given_keys, is_codex, session_mark
from shim.codex.login import brings_login
from shim.policy.schema import Protocol, Provider
from shim.route import choose
from shim.route.tried import without_tried
from shim.route.wayout import way_out
from shim.wire.protocols import COUNT, PATHS, split_path
from shim.wire.quirks import quirks


class NoTarget(Exception):
    """Why there is nowhere to go, in a sentence."""


def aim(flow: http.HTTPFlow, exchange: Exchange, provider: Provider | None) -> None:
    """Give the flow a request for its route's upstream. MissingVariable when a key is not set,
    LoginError when nobody is logged in."""
    route = exchange.route
    assert route
    client = exchange.client_request
    ending = PATHS[route.protocol] + (COUNT if exchange.counts else "")
    if provider is not None:
        scheme, host, port, path = choose.address(provider, ending)
        if route.login and brings_login(exchange.headers):
            headers = _codex_headers(exchange, {})
        else:
            own = _session(exchange, provider) | choose.headers(provider)
            exchange.secrets |= choose.secrets(provider, own)
            headers = _codex_headers(exchange, own) if route.login else _headers(exchange, own)
    else:
        scheme, host, port = original_target(flow, exchange)
        _, mark, query = without_tried(client.path).partition("?")
        path = split_path(client.path)[0] + ending + mark + query
        if route.protocol == exchange.turn.protocol:
            headers = client.headers.copy()
        else:
            headers = _headers(exchange, _own_key(exchange, route.protocol))
    flow.request = request_to(client, scheme, host, port, path, headers)
    exchange.endpoint = (scheme, host, port)
    if way := way_out(scheme, host):
        flow.server_conn.via = (way.scheme, (way.host, way.port))
        exchange.endpoint = (way.scheme, way.host, way.port)
        exchange.decide("route", f"by way of the proxy {way.host}:{way.port}")


def original_target(flow: http.HTTPFlow, exchange: Exchange) -> tuple[str, str, int]:
    """Where the turn goes that nobody routes elsewhere."""
    client = exchange.client_request
    if exchange.proxied:
        return client.scheme, client.host, client.port
    return reverse_target(flow)


def reverse_target(flow: http.HTTPFlow) -> tuple[str, str, int]:
    """(scheme, host, port) of ``--mode reverse:URL``."""
    mode = flow.client_conn.proxy_mode
    if not isinstance(mode, ReverseMode):
        raise NoTarget("this is a forward proxy: the provider reverse leads nowhere here")
    return ("http" if mode.scheme == "http" else "https"), *mode.address


def request_to(
    client: http.Request, scheme: str, host: str, port: int, path: str, headers: http.Headers
) -> http.Request:
    """A request of its own, so that the client's stays as it came."""
    usual = {"http": 80, "https": 443}[scheme]
    name = f"[{host}]" if ":" in host else host
    name = name if port == usual else f"{name}:{port}"
    data = client.data
    # HTTP/2 has a word of its own for it.
    second = data.http_version == b"HTTP/2.0"
    if second:
        headers.pop("host", None)
    else:
        headers["host"] = name
    return http.Request(
        host,
        port,
        data.method,
        scheme.encode(),
        name.encode() if second else b"",
        path.encode(),
        data.http_version,
        headers,
        data.content,
        data.trailers,
        data.timestamp_start,
        data.timestamp_end,
    )


def _headers(exchange: Exchange, extra: dict[str, str]) -> http.Headers:
    """Fresh headers for an upstream: nothing of the client's machine or session goes along."""
    assert exchange.route
    return fields(
        {
            "accept": "text/event-stream" if exchange.turn.stream else "application/json",
            "content-type": "application/json",
            "user-agent": "interpose",
            **(_anthropic(exchange) if exchange.route.protocol == "messages" else {}),
            **extra,
        }
    )


def _codex_headers(exchange: Exchange, own: dict[str, str]) -> http.Headers:
    """What the Codex backend gets: a turn of Codex as Codex sends it, with the login.

    A client that brings a login of its own keeps it, since it renews it, too.
    """
    assert exchange.route
    if not (is_codex(exchange.headers) and exchange.turn.protocol == "responses"):
        if not own:
            own = {n: exchange.headers[n] for n in ("authorization", "chatgpt-account-id")}
        headers = _headers(exchange, {"originator": "interpose", **own})
        headers["accept"] = "text/event-stream"
        return headers
    headers = exchange.client_request.headers.copy()
    for name in ("x-api-key", "proxy-authorization"):
        headers.pop(name, None)
    for name, value in own.items():
        headers[name] = value
    if "x-codex-routing-hint" in headers:
        headers["x-codex-routing-hint"] = f"model={exchange.route.model}"
    return headers


def _anthropic(exchange: Exchange) -> dict[str, str]:
    """The version of the protocol, and what the client's own turn needs switched on."""
    found = {"anthropic-version": "2023-06-01"}
    if exchange.turn.protocol == "messages":
        names = ("anthropic-version", "anthropic-beta")
        found |= {n: exchange.headers[n] for n in names if n in exchange.headers}
    return found


def _session(exchange: Exchange, provider: Provider) -> dict[str, str]:
    """The id of the conversation, for a provider that insists on one."""
    name = quirks(provider.base_url).session
    if not name:
        return {}
    return {name: session_mark(exchange.headers, exchange.turn, exchange.facts)}


def _own_key(exchange: Exchange, protocol: Protocol) -> dict[str, str]:
    """The client's key, in the header in which the upstream's protocol expects it."""
    given = given_keys(exchange.headers)
    key = given.get("authorization") or given.get("x-api-key")
    if not key:
        return {}
    return {"x-api-key": key} if protocol == "messages" else {"authorization": f"Bearer {key}"}
