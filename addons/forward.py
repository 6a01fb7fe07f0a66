"""The forward proxy (``--mode regular``): which flows are turns; all others pass as they are.

A host where no model is known keeps its own certificate: its TLS is not looked into. What is not
a turn is not read, kept or recorded. Loopback only, whatever else is served: a client of a forward
proxy cannot show a client key.
"""

from __future__ import annotations

from mitmproxy import connection, ctx, http
from mitmproxy.proxy.mode_specs import RegularMode
from mitmproxy.tls import ClientHelloData

from addons.exchange import Chain, refuse, take
from addons.upstream_state import clean
from shim.client import is_loopback
from shim.route.wayout import way_out


class Forward:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def client_connected(self, client_conn: connection.Client) -> None:
        if _proxied(client_conn) and not is_loopback(str(client_conn.peername[0])):
            client_conn.error = "a forward proxy is for this machine only"

    def http_connect(self, flow: http.HTTPFlow) -> None:
        if _proxied(flow.client_conn) and ctx.options.client_keys:
            flow.response = http.Response.make(403, _KEYS)

    def tls_clienthello(self, data: ClientHelloData) -> None:
        context = data.context
        if not _proxied(context.client) or context.server.address is None:
            return
        host, port = context.server.address[:2]
        data.ignore_connection = not self._chain.policies.in_force().intercepts.host(host, port)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        if flow.response or flow.is_replay or not _proxied(flow.client_conn):
            return
        request = flow.request
        host, port = request.host, request.port
        if _is_here(flow):
            # To the chain itself. Its own port under another name is for the gate to refuse.
            take(flow, proxied=False)
        elif ctx.options.client_keys:
            refuse(flow, 403, _KEYS)
        elif self._chain.policies.in_force().intercepts.turn(host, port, request.path):
            take(flow, proxied=True)
        else:
            request.stream = True
            if way := way_out(request.scheme, host):
                flow.server_conn.via = (way.scheme, (way.host, way.port))

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        if flow.request.stream and flow.response:
            flow.response.stream = True

    def response(self, flow: http.HTTPFlow) -> None:
        if flow.request.stream:
            clean(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        self.response(flow)


_KEYS = "a forward proxy takes no client keys, so with client_keys it serves nobody"


def _proxied(client: connection.Client) -> bool:
    return isinstance(client.proxy_mode, RegularMode)


def _is_here(flow: http.HTTPFlow) -> bool:
    """Whether a request in the clear names the port it came to. A web page whose name was made to
    lead here does so, too."""
    bound = flow.client_conn.sockname
    return bool(bound) and not flow.client_conn.tls and flow.request.port == bound[1]
