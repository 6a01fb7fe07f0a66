"""The gate: who may talk to the chain, from where and about what; it opens an exchange per turn."""

from __future__ import annotations

import gc
import hmac
import logging
import os
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec
from mitmproxy import connection, ctx, http
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.utils import human

from addons.exchange import (
    PAGE,
    Chain,
    Exchange,
    bare,
    begin,
    is_ours,
    is_proxied,
    plain,
    refuse,
    tail,
)
from addons.stop import stop
from shim import client
from shim.prompt import capabilities
from shim.state.compact import read_compact
from shim.state.expand import is_compact, stored
from shim.turn import Turn, WireError
from shim.wire.fields import top_level
from shim.wire.protocols import codec, protocol_of

logger = logging.getLogger(__name__)

_PAGE = ("GET",)
_TURN = ("POST",)
#: Pages that a program or browser on this machine may have without a client key, by their whole
#: path, and the methods they take. What changes something is behind a guard of its own.
_PAGES = {
    "/health": _PAGE,
    "/metrics": _PAGE,
    "/dashboard": _PAGE,
    "/picker": _PAGE,
    "/api/models": _PAGE,
    "/api/switch": ("POST",),
}
#: Those of them that nobody has from elsewhere, and that have no name but loopback's.
_PICKER = ("/picker", "/api/models", "/api/switch")
_SOCKET = ("GET",)
_LOOPBACK = "127.0.0.1"


class Gate:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._limit = 0
        self._keys: list[str] = []
        self._hosts: set[str] = set()
        self._remote = False

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "allow_remote", bool, False, "Serve other machines too; needs client_keys."
        )
        loader.add_option(
            "served_hosts",
            Sequence[str],
            [],
            "Host names by which clients may call the chain, besides loopback.",
        )
        try:
            keys = client.known_keys(os.environ)
        except ValueError as e:
            stop(str(e), running=False)
        loader.add_option(
            "client_keys",
            Sequence[str],
            keys,
            "Keys of which a client must send one (Bearer or x-api-key).",
        )
        loader.add_option("body_limit", str, "64m", "Largest request body that is taken.")
        # The Host guard needs the client's own Host; a turn's target is known only after routing.
        wanted = {"keep_host_header": True, "connection_strategy": "lazy"}
        if "flow_detail" in ctx.options and ctx.options.flow_detail == 1:
            wanted["flow_detail"] = 0
        ctx.options.update(**wanted)

    def configure(self, updated: set[str]) -> None:
        # Reading an option costs a copy of its value: not something to do per request.
        self._keys = list(ctx.options.client_keys)
        self._hosts = {h.lower() for h in (*ctx.options.served_hosts, ctx.options.listen_host)}
        self._remote = ctx.options.allow_remote
        if self._remote and not self._keys:
            stop(
                "allow_remote needs client keys: add --set client_keys=KEY,"
                " or set INTERPOSE_CLIENT_KEYS",
                running=self._chain.running,
            )
        if "body_limit" in updated:
            try:
                self._limit = human.parse_size(ctx.options.body_limit) or 0
            except ValueError:
                stop(
                    f"body_limit must be a size such as 64m, is {ctx.options.body_limit!r}",
                    running=self._chain.running,
                )

    def running(self) -> None:
        """Move listeners that mitmproxy opened on all interfaces to loopback."""
        # What was imported stays: the collector need not look at it again with every answer.
        gc.freeze()
        self._chain.running = True
        if ctx.options.allow_remote or not ctx.options.server or ctx.options.listen_host:
            return
        modes = [_on_loopback(m, ctx.options.listen_port) for m in ctx.options.mode]
        if modes != list(ctx.options.mode):
            ctx.options.update(mode=modes)

    def client_connected(self, client_conn: connection.Client) -> None:
        host = str(client_conn.peername[0])
        if not self._remote and not client.is_loopback(host):
            client_conn.error = "only loopback is served; see allow_remote"

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        if flow.response or flow.is_replay or not is_ours(flow):
            return
        try:
            self._let_in(flow)
        except Exception:
            # What has not been looked at goes no further.
            flow.response = http.Response.make(500, b"the gate broke; see the log")
            raise

    def _let_in(self, flow: http.HTTPFlow) -> None:
        """Refuse what may not be here; mark what asks for a page."""
        request, proxied = flow.request, is_proxied(flow)
        page = "" if proxied else self._page(request)
        socket = not proxied and self._serves_socket(request)
        methods = _SOCKET if socket else _PAGES.get(page) or _methods(request.path)
        if not proxied and not self._host_allowed(flow):
            refuse(
                flow,
                403,
                f"the host {request.host_header!r} is not served here; "
                "name it with --set served_hosts=NAME",
            )
        elif not self._origin_allowed(request):
            refuse(flow, 403, "requests from web pages of other sites are not served")
        elif methods is None:
            refuse(
                flow,
                404,
                f"no such path: {bare(request.path)}; "
                "POST /v1/responses, /v1/chat/completions and /v1/messages, "
                "GET /v1/models, /health, /metrics, /dashboard and /picker are served",
            )
        elif page in _PICKER and not (_is_local(flow) and _names_loopback(request)):
            refuse(flow, 403, f"{page} is served to browsers on this machine only, at 127.0.0.1")
        elif not (proxied or _is_open(flow, page) or self._take_key(flow, keep=socket)):
            said = "this chain needs one of its client keys, as a bearer token or in x-api-key"
            printed = "; `interpose ensure` prints it" if self._chain.daemon() else ""
            refuse(flow, 401, said + printed)
        elif upgrades(request) and not socket:
            refuse(flow, 426, "WebSocket is not served here; use POST")
        elif request.method not in methods:
            refuse(
                flow,
                405,
                f"{request.method} is not served at {request.path}; use {methods[0]}",
            )
        elif self._too_large(int(_digits(request.headers.get("content-length")))):
            self._refuse_size(flow)
        elif page:
            flow.metadata[PAGE] = page

    async def request(self, flow: http.HTTPFlow) -> None:
        if flow.response or flow.is_replay or not is_ours(flow):
            return
        await self._chain.policies.refresh()
        compacts = is_compact(flow.request.path)
        protocol = "responses" if compacts else protocol_of(flow.request.path)
        if protocol is None or upgrades(flow.request):
            return
        if self._too_large(len(flow.request.raw_content or b"")):
            self._refuse_size(flow)
            return
        headers = plain(flow.request.headers)
        try:
            encoded = "content-encoding" in headers
            body = (flow.request.get_content() if encoded else flow.request.raw_content) or b""
            turn, own = self._read(protocol, compacts, body)
        except ValueError:
            refuse(flow, 400, f"the body is not {headers.get('content-encoding')} as it says")
            return
        except WireError as e:
            refuse(flow, e.status, str(e), param=e.param)
            return
        except RecursionError:
            # Unread, it would go past every rule to the target.
            refuse(flow, 400, "the request body is nested too deeply")
            return
        peer = flow.client_conn.peername
        exchange = Exchange(
            client_request=flow.request,
            headers=headers,
            # Only a stream can tell Codex of a failure in its own way.
            codex=client.is_codex(headers) and not compacts,
            turn=turn,
            asked=turn,
            wants=own,
            who=headers.get("thread-id") or (str(peer[0]) if peer else ""),
            secrets=client.secrets([*headers.items(), *flow.request.query.items(multi=True)])
            | set(self._keys),
            started=flow.request.timestamp_start,
            proxied=is_proxied(flow),
        )
        begin(flow, exchange)

    def _read(self, protocol: str, compacts: bool, body: bytes) -> tuple[Turn, dict[str, Any]]:
        """The turn in ``body``, and the capabilities it asks for. WireError when it is none."""
        if compacts:
            return read_compact(body), {}
        stands = self._chain.policies.in_force()
        named = capabilities.FIELD.encode() in body
        if not named and not stands.reads_otherwise:
            return codec(protocol).read_request(body), {}
        fields = top_level(body)
        raw = fields.pop(capabilities.FIELD, None)
        own = capabilities.asked_for(raw) if raw is not None else {}
        wanted = own.get("protocol") or stands.client_protocol(fields.get("model"))
        if wanted:
            protocol = capabilities.PROTOCOLS[wanted]
        if raw is not None:
            body = msgspec.json.encode(fields)
        return codec(protocol).read_request(body), own

    def _page(self, request: http.Request) -> str:
        """Which of the chain's own pages is asked for; empty: none."""
        path = bare(request.path)
        if path == "/api/models" and (
            self._chain.policies.current().empty or asks_catalog(request)
        ):
            # A client's list of models, where /api is its base URL.
            return ""
        return path if path in _PAGES else ""

    def _host_allowed(self, flow: http.HTTPFlow) -> bool:
        host = client.hostname(flow.request.host_header or "")
        bound = flow.client_conn.sockname
        return (
            client.is_loopback(host)
            or (bool(bound) and host == str(bound[0]))
            or (bool(host) and host in self._hosts)
        )

    def _origin_allowed(self, request: http.Request) -> bool:
        origin = request.headers.get("origin", "")
        host = client.hostname(origin.partition("://")[2])
        return not origin or client.is_loopback(host) or (bool(host) and host in self._hosts)

    def _serves_socket(self, request: http.Request) -> bool:
        allowed = self._chain.policies.current().websocket
        return allowed and upgrades(request) and protocol_of(request.path) == "responses"

    def _take_key(self, flow: http.HTTPFlow, *, keep: bool) -> bool:
        """Whether a client key is there; it is taken off, since it is no provider's business.

        The engine behind a WebSocket needs it (``keep``): its turns come back through here.
        """
        if not self._keys:
            return True
        headers = flow.request.headers
        allowed = False
        for name, given in client.given_keys(headers).items():
            if any(hmac.compare_digest(given.encode(), key.encode()) for key in self._keys):
                if not keep:
                    del headers[name]
                self._chain.owners[flow] = blake2b(given.encode(), digest_size=8).hexdigest()
                allowed = True
        return allowed

    def _too_large(self, size: int) -> bool:
        return bool(self._limit) and size > self._limit

    def _refuse_size(self, flow: http.HTTPFlow) -> None:
        refuse(
            flow,
            413,
            f"the request body is larger than {ctx.options.body_limit}; see --set body_limit",
        )


def upgrades(request: http.Request) -> bool:
    """Whether ``request`` wants to become a WebSocket."""
    return "websocket" in request.headers.get("upgrade", "").lower()


def asks_catalog(request: http.Request) -> bool:
    """Whether it is Codex that asks for the models, in its own form."""
    return "client_version" in request.query or client.is_codex(request.headers)


def _is_open(flow: http.HTTPFlow, page: str) -> bool:
    """Whether a page is there for those without a key: what tells of sessions, on this machine."""
    if page == "/health" and not flow.request.query:
        return True
    return bool(page) and _is_local(flow)


def _is_local(flow: http.HTTPFlow) -> bool:
    peer = flow.client_conn.peername
    return bool(peer) and client.is_loopback(str(peer[0]))


def _names_loopback(request: http.Request) -> bool:
    """Whether it was called by a name of this machine: not by one that a proxy in front has."""
    return client.is_loopback(client.hostname(request.host_header or ""))


def _methods(path: str) -> tuple[str, ...] | None:
    """The methods served at ``path``; None when nothing is."""
    if protocol_of(path) or is_compact(path):
        return _TURN
    if what := stored(path):
        return ("GET",) if what[1] else ("GET", "DELETE")
    return _PAGE if tail(path) == "models" else None


def _on_loopback(spec: str, port: int | None) -> str:
    mode = ProxyMode.parse(spec)
    if mode.custom_listen_host is not None or mode.listen_port(port) is None:
        return spec
    bare = spec.rpartition("@")[0] if mode.custom_listen_port is not None else spec
    return f"{bare}@{_LOOPBACK}:{mode.listen_port(port)}"


def _digits(text: str | None) -> str:
    return text if text and text.isdigit() else "0"
