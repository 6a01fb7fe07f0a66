"""Routing: which upstream a turn goes to, whether it can be reached, and with which headers."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

import certifi
from mitmproxy import ctx, http
from mitmproxy.proxy.mode_specs import ReverseMode

from addons.exchange import Chain, Exchange, exchange_of, fields, tail
from addons.stop import stop
from shim.client import given_keys
from shim.policy.load import MissingVariable, PolicyError
from shim.policy.schema import Protocol, Provider
from shim.policy.store import PolicyStore
from shim.route import choose
from shim.route.failures import Failures, key
from shim.route.probe import Probe
from shim.route.wayout import way_out
from shim.turn import Failure
from shim.wire.protocols import COUNT, PATHS, split_path

if TYPE_CHECKING:
    from shim.engines.server import EngineServer


class Router:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._failures = Failures()
        self._probe = Probe(_tls)
        self._engines: EngineServer | None = None
        self._upstream: Protocol = "responses"

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "policy",
            str,
            os.environ.get("INTERPOSE_POLICY", ""),
            "Policy file (YAML); also by the variable INTERPOSE_POLICY.",
        )
        loader.add_option(
            "default_model",
            str,
            "",
            "Model for names the policy does not know, instead of its own default.",
        )
        loader.add_option(
            "upstream",
            str,
            "responses",
            "Protocol of the target of --mode reverse:URL.",
            choices=tuple(PATHS),
        )

        extra = os.environ.get("SSL_CERT_FILE", "")
        if os.path.isfile(extra) and not ctx.options.ssl_verify_upstream_trusted_ca:
            ctx.options.update(ssl_verify_upstream_trusted_ca=extra)

    def configure(self, updated: set[str]) -> None:
        if "policy" in updated:
            try:
                self._chain.policies = PolicyStore(ctx.options.policy or None)
            except PolicyError as e:
                stop(str(e), running=self._chain.running)
        self._upstream = ctx.options.upstream
        self._chain.default_model = ctx.options.default_model or None
        if self._chain.default_model:
            try:
                choose.choose(self._chain.policies.current(), "", default=self._chain.default_model)
            except choose.NoRoute as e:
                stop(f"default_model: {e}", running=self._chain.running)

    async def done(self) -> None:
        if self._engines:
            await self._engines.stop()

    async def request(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if flow.response:
            return
        if exchange is None:
            if tail(flow.request.path) == "models":
                request = flow.request
                target = _reverse_target(flow)
                flow.request = _request(request, *target, request.path, request.headers.copy())
            return
        policy = self._chain.policies.current()
        try:
            route = choose.choose(
                policy,
                exchange.turn.model,
                default=self._chain.default_model,
                reverse=self._upstream,
            )
        except choose.NoRoute as e:
            exchange.fail(flow, Failure(str(e), 404, "model_not_found", "invalid_request_error"))
            return
        exchange.route = route
        exchange.decide("route", f"{route.provider}/{route.model} by {route.reason}")
        if self._failures and (lately := self._failures.recall(_key(exchange))):
            exchange.decide("route", "answered from what failed a moment ago")
            exchange.fail(flow, lately)
            return
        if exchange.counts and route.protocol != exchange.turn.protocol:
            # Nobody else counts in the words of Messages: translate answers.
            return
        try:
            await self._aim(flow, exchange, policy.providers.get(route.provider))
        except MissingVariable as e:
            exchange.fail(
                flow,
                Failure(
                    f"{route.provider}: its key or address needs the variable {e.name}, "
                    "which is not set where the chain runs",
                    401,
                    "missing_key",
                    "authentication_error",
                ),
            )
            return
        assert exchange.endpoint
        if why := await self._probe.check(exchange.endpoint):
            exchange.fail(flow, Failure(f"{route.provider}: {why}", 502, "upstream_unreachable"))

    async def _aim(
        self, flow: http.HTTPFlow, exchange: Exchange, provider: Provider | None
    ) -> None:
        """Give the flow a request for the route's upstream, with the headers it asks for."""
        route = exchange.route
        assert route
        client = exchange.client_request
        ending = PATHS[route.protocol] + (COUNT if exchange.counts else "")
        if route.provider == "demo":
            provider = await self._demo()
        if provider is not None:
            scheme, host, port, path = choose.address(provider, ending)
            headers = _headers(exchange, choose.headers(provider))
            exchange.secrets |= choose.secrets(provider)
        else:
            scheme, host, port = _reverse_target(flow)
            _, mark, query = client.path.partition("?")
            path = split_path(client.path)[0] + ending + mark + query
            if route.protocol == exchange.turn.protocol:
                headers = client.headers.copy()
            else:
                headers = _headers(exchange, _own_key(exchange, route.protocol))
        flow.request = _request(client, scheme, host, port, path, headers)
        exchange.endpoint = (scheme, host, port)
        if way := way_out(scheme, host):
            flow.server_conn.via = (way.scheme, (way.host, way.port))
            exchange.endpoint = (way.scheme, way.host, way.port)
            exchange.decide("route", f"by way of the proxy {way.host}:{way.port}")

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        host = flow.request.host
        way = way_out("https", host) or way_out("http", host)
        if way and way.authorization:
            flow.request.headers["proxy-authorization"] = way.authorization

    async def _demo(self) -> Provider:
        if self._engines is None:
            from shim.engines.server import EngineServer

            self._engines = EngineServer()
            await self._engines.start()
        return Provider(self._engines.base_url, key=self._engines.secret)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange and exchange.endpoint and exchange.upstream_request:
            self._probe.answered(exchange.endpoint)

    def error(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if not (exchange and exchange.route and exchange.endpoint) or flow.response:
            return
        self._probe.failed(exchange.endpoint)
        why = flow.error.msg if flow.error else "no answer"
        exchange.failure = Failure(
            f"{exchange.route.provider}: no answer came: {why}", 502, "upstream_unreachable"
        )
        self._failures.note(_key(exchange), exchange.failure)


def _key(exchange: Exchange) -> tuple[str, bytes]:
    return key(exchange.who, exchange.turn.body)


def _reverse_target(flow: http.HTTPFlow) -> tuple[str, str, int]:
    mode = flow.client_conn.proxy_mode
    assert isinstance(mode, ReverseMode)
    return ("http" if mode.scheme == "http" else "https"), *mode.address


def _request(
    client: http.Request, scheme: str, host: str, port: int, path: str, headers: http.Headers
) -> http.Request:
    """A request of its own, so that the client's stays as it came."""
    usual = {"http": 80, "https": 443}[scheme]
    name = f"[{host}]" if ":" in host else host
    headers["host"] = name if port == usual else f"{name}:{port}"
    data = client.data
    return http.Request(
        host,
        port,
        data.method,
        scheme.encode(),
        b"",
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


def _anthropic(exchange: Exchange) -> dict[str, str]:
    """The version of the protocol, and what the client's own turn needs switched on."""
    found = {"anthropic-version": "2023-06-01"}
    if exchange.turn.protocol == "messages":
        names = ("anthropic-version", "anthropic-beta")
        found |= {n: exchange.headers[n] for n in names if n in exchange.headers}
    return found


def _own_key(exchange: Exchange, protocol: Protocol) -> dict[str, str]:
    """The client's key, in the header in which the upstream's protocol expects it."""
    given = given_keys(exchange.headers)
    key = given.get("authorization") or given.get("x-api-key")
    if not key:
        return {}
    return {"x-api-key": key} if protocol == "messages" else {"authorization": f"Bearer {key}"}


def _tls() -> ssl.SSLContext:
    """Trust what mitmproxy trusts when it connects."""
    context = ssl.create_default_context(
        cafile=ctx.options.ssl_verify_upstream_trusted_ca
        or (None if ctx.options.ssl_verify_upstream_trusted_confdir else certifi.where()),
        capath=ctx.options.ssl_verify_upstream_trusted_confdir,
    )
    if ctx.options.ssl_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
