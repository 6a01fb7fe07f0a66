"""Access: who may talk to the chain, from where and about what; the listeners it is reached by."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from typing import NoReturn

from mitmproxy import ctx
from mitmproxy.proxy.mode_specs import ProxyMode, RegularMode, ReverseMode
from mitmproxy.utils import human

from addons.fatal import fatal
from addons.services import Services
from addons.stage import Stage
from shim import client
from shim.encodings import Limit
from shim.exchange import access
from shim.exchange.values import Access as Value
from shim.exchange.values import Reply

_LOOPBACK = "127.0.0.1"
#: Options of mitmproxy by which bytes go past every addon.
_BYPASSES = ("stream_large_bodies", "ignore_hosts", "allow_hosts", "tcp_hosts", "udp_hosts")


class Access(Stage):
    def __init__(self, services: Services) -> None:
        self._services = services
        self._remote = False
        self.door = access.Door()

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
            fatal(str(e), running=self._services.running)
        loader.add_option(
            "client_keys",
            Sequence[str],
            keys,
            "Keys of which a client must send one (Bearer or x-api-key).",
        )
        loader.add_option("body_limit", str, "64m", "Largest body of a request or an answer.")
        # The Host guard needs the client's own Host; a turn's target is known only after routing.
        wanted = {"keep_host_header": True, "connection_strategy": "lazy"}
        if "flow_detail" in ctx.options and ctx.options.flow_detail == 1:
            wanted["flow_detail"] = 0
        ctx.options.update(**wanted)

    def configure(self, updated: set[str]) -> None:
        # Reading an option costs a copy of its value: not something to do per request.
        keys = tuple(ctx.options.client_keys)
        hosts = {h.lower() for h in (*ctx.options.served_hosts, ctx.options.listen_host)}
        self._remote = ctx.options.allow_remote
        if self._remote and not keys:
            self._refuse(
                "allow_remote needs client keys: add --set client_keys=KEY,"
                " or set INTERPOSE_CLIENT_KEYS"
            )
        limit = ctx.options.body_limit
        try:
            most = human.parse_size(limit) or 0
        except ValueError:
            self._refuse(f"body_limit must be a size such as 64m, is {limit!r}")
        self._services.body_limit = Limit(most, f"{limit} (--set body_limit)")
        self._services.client_keys = keys
        self.door = access.Door(keys, frozenset(hosts), self._services.body_limit)
        self._check_bypasses()

    def running(self) -> None:
        """Move listeners that mitmproxy opened on all interfaces to loopback."""
        # What was imported stays: the collector need not look at it again with every answer.
        gc.freeze()
        self._services.running = True
        if ctx.options.allow_remote or not ctx.options.server or ctx.options.listen_host:
            return
        modes = [_on_loopback(m, ctx.options.listen_port) for m in ctx.options.mode]
        if modes != list(ctx.options.mode):
            ctx.options.update(mode=modes)

    def client_connected(self, host: str, proxied: bool) -> str | None:
        """Why a client at ``host`` is not served; None when it is."""
        if self._remote or client.is_loopback(host):
            return None
        return "only loopback is served; see allow_remote"

    def requestheaders(self, value: Value) -> Value | Reply | None:
        if value.kind == "foreign":
            return None
        policy = self._services.policies.current()
        return self.door.admit(value.request, policy, self._key_hint)

    def _key_hint(self) -> str:
        return "; `interpose ensure` prints it" if self._services.daemon() else ""

    def _check_bypasses(self) -> None:
        for name in _BYPASSES:
            if name in ctx.options and getattr(ctx.options, name):
                self._refuse(
                    f"{name} would send requests past the whole chain, its rules and its"
                    " recording; start without it"
                )
        for spec in ctx.options.mode:
            mode = ProxyMode.parse(spec)
            served = isinstance(mode, RegularMode) or (
                isinstance(mode, ReverseMode) and mode.scheme in ("http", "https")
            )
            if not served:
                self._refuse(
                    f"the mode {spec} is not served; use reverse:http://HOST, reverse:https://HOST"
                    " or regular"
                )

    def _refuse(self, message: str) -> NoReturn:
        fatal(message, running=self._services.running)


def _on_loopback(spec: str, port: int | None) -> str:
    mode = ProxyMode.parse(spec)
    if mode.custom_listen_host is not None or mode.listen_port(port) is None:
        return spec
    bare = spec.rpartition("@")[0] if mode.custom_listen_port is not None else spec
    return f"{bare}@{_LOOPBACK}:{mode.listen_port(port)}"
