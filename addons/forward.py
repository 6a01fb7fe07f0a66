"""The forward proxy (``--mode regular``): which requests are turns; all others pass as they are.

A host where no model is known keeps its own certificate: its TLS is not looked into. What is not
a turn is not read, kept or recorded. Loopback only, whatever else is served: a client of a forward
proxy cannot show a client key.
"""

from __future__ import annotations

import msgspec

from addons.services import Services
from addons.stage import Stage
from shim.client import is_loopback
from shim.exchange.replies import refusal
from shim.exchange.values import Access, Reply
from shim.route.wayout import way_out

_KEYS = "a forward proxy takes no client keys, so with client_keys it serves nobody"


class Forward(Stage):
    def __init__(self, services: Services) -> None:
        self._policies = services.policies
        self._keys = services.client_keys

    def client_connected(self, host: str, proxied: bool) -> str | None:
        """Why a client at ``host`` is not served; None when it is."""
        if proxied and not is_loopback(host):
            return "a forward proxy is for this machine only"
        return None

    def http_connect(self) -> Reply | None:
        """A refusal where nobody is served."""
        return refusal("", 403, _KEYS) if self._keys.valid is not None else None

    def looks_into(self, host: str, port: int) -> bool:
        """Whether the TLS of connections to ``host`` is looked into."""
        return self._policies.in_force().intercepts.host(host, port)

    def requestheaders(self, access: Access) -> Access | Reply | None:
        """What a request of a forward proxy's client asks for."""
        request = access.request
        if request.reverse is not None:
            return None
        if not request.encrypted and request.port == request.local[2]:
            # To the chain itself. Its own port under another name is for the next stage to
            # refuse: a web page whose name was made to lead here names it, too.
            return None
        if self._keys.valid is not None:
            return refusal(request.path, 403, _KEYS)
        intercepts = self._policies.in_force().intercepts
        if intercepts.turn(request.host, request.port, request.path):
            return Access("turn", msgspec.structs.replace(request, proxied=True))
        if intercepts.disguised(request.host, request.port, request.path):
            return refusal(
                request.path,
                404,
                "a turn is served at its plain path only, without doubled slashes or escapes",
            )
        way = way_out(request.scheme, request.host)
        return Access("foreign", request, way=(way.scheme, way.host, way.port) if way else None)
