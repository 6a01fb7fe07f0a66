"""Who may ask, and for what: a look at a request's head, before its body is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from urllib.parse import parse_qsl, unquote_plus

import msgspec

from .. import client
from ..encodings import Limit
from ..policy.schema import Policy
from ..shown import has_control
from ..state.expand import is_compact, stored
from ..wire.paths import protocol_of
from .client_keys import matching, owner_of
from .cookies import signed_in, without_ours
from .forwarded import Network, forwarded
from .replies import refusal, refusal_of_size
from .values import Access, ClientRequest, Fields, Kind, Reply, headers_of

_GET = ("GET",)
_TURN = ("POST",)


class Page(msgspec.Struct, frozen=True):
    """One of the chain's own pages, and the ``methods`` it takes. ``open``: it tells nothing but
    its state to those without a key. ``local``: for browsers here by a name of loopback only.
    ``cookie``: a browser that has signed in needs no key for it."""

    methods: tuple[str, ...] = _GET
    open: bool = False
    local: bool = False
    cookie: bool = True


#: The pages by their whole path. What changes something is behind a guard of its own.
PAGES = {
    "/health": Page(open=True),
    "/health/live": Page(open=True),
    "/health/ready": Page(open=True),
    "/metrics": Page(),
    "/dashboard": Page(),
    "/picker": Page(local=True),
    "/api/models": Page(local=True),
    "/api/switch": Page(_TURN, local=True),
    "/login": Page(("GET", "POST"), open=True),
    "/api/login-code": Page(_TURN, cookie=False),
}
#: What stands between the words of a header field.
_BETWEEN = re.compile(r"[\s,;=\"]+")


class Door(msgspec.Struct, frozen=True):
    """Who is let in. ``keys`` are those of which a client must send one (None: nobody needs one),
    ``hosts`` further names by which the chain is called, ``limit`` that of a body; ``proxies`` are
    the reverse proxies that are believed whom they ask for."""

    keys: tuple[str, ...] | None = None
    hosts: frozenset[str] = frozenset()
    limit: Limit = Limit()
    proxies: tuple[Network, ...] = ()

    def admit(
        self,
        request: ClientRequest,
        policy: Policy,
        key_hint: Callable[[], str] = str,
        owner: Callable[[str], str | None] = lambda token: None,
    ) -> Access | Reply:
        """What ``request`` asks for; a refusal in the client's own protocol. ``key_hint`` tells
        where a client key is found, as the end of a sentence; ``owner`` whose key a browser has
        shown that holds a token of having signed in."""
        sent, request = request, forwarded(request, self.proxies)
        page = "" if request.proxied else _page(request, policy)
        socket = not request.proxied and _is_socket(request, policy)
        methods = _GET if socket else PAGES[page].methods if page else _methods(request.path)
        allowed = self._with_key(request) or self._with_cookie(request, page, owner)

        def refused(status: int, message: str) -> Reply:
            return refusal(request.path, status, message)

        if why := _garbled(sent):
            return refused(400, why)
        if not request.proxied:
            # A page by a foreign name can have any header sent, but not another Host.
            for name in dict.fromkeys((sent.authority, request.authority)):
                if not self._host_allowed(request, name):
                    return refused(
                        403,
                        f"the host {name!r} is not served here; "
                        "name it with --set served_hosts=NAME",
                    )
        if not self._origin_allowed(request):
            return refused(403, "requests from web pages of other sites are not served")
        if not (request.proxied or allowed or _is_open(request, page)):
            message = "this chain needs one of its client keys, as a bearer token or in x-api-key"
            return refused(401, message + key_hint())
        if self.keys is None and request.peer != sent.peer and not _is_local(request):
            # What a proxy in front brings from elsewhere is not this machine's.
            return refused(403, "without client_keys only this machine is served")
        if methods is None:
            return refused(
                404,
                f"no such path: {bare(request.path)}; "
                "POST /v1/responses, /v1/chat/completions and /v1/messages, "
                "GET /v1/models, /health, /metrics, /dashboard and /picker are served",
            )
        if page and PAGES[page].local and not (_is_local(request) and _names_loopback(request)):
            return refused(403, f"{page} is served to browsers on this machine only, at 127.0.0.1")
        if upgrades(request) and not socket:
            return refused(426, "WebSocket is not served here; use POST")
        if request.method not in methods:
            return refused(
                405, f"{request.method} is not served at {bare(request.path)}; use {methods[0]}"
            )
        if self.limit.exceeded(_number(request.headers.get("content-length"))):
            return self.refuse_size(request)
        if allowed and socket:
            # The engine behind a WebSocket needs the key, since its turns come back through here.
            request = msgspec.structs.replace(request, owner=allowed.owner)
        elif allowed:
            # A client key is no provider's business.
            request = allowed
        kind = _kind(request, page, socket=socket)
        return Access(kind, without_ours(request), page, stranger=allowed is None)

    @property
    def owners(self) -> frozenset[str]:
        """Whom the keys belong to."""
        return frozenset(map(owner_of, self.keys or ()))

    def owner(self, given: str) -> str | None:
        """Whose key ``given`` is; None when it is nobody's."""
        return owner_of(given) if matching(given, self.keys or ()) else None

    def refuse_size(self, request: ClientRequest) -> Reply:
        """The refusal of a body that is too large."""
        return refusal_of_size(request.path, self.limit)

    def _with_key(self, request: ClientRequest) -> ClientRequest | None:
        """``request`` without the client key that it holds, and its owner; None where it holds
        none of ours."""
        if self.keys is None:
            return request
        allowed = None
        for given in _given_keys(request.fields):
            if owner := self.owner(given):
                allowed = msgspec.structs.replace(_without(request, self.keys), owner=owner)
        return allowed

    def _with_cookie(
        self, request: ClientRequest, page: str, owner: Callable[[str], str | None]
    ) -> ClientRequest | None:
        """``request`` of a browser that has signed in, where that counts, and its owner."""
        if not (page and PAGES[page].cookie):
            return None
        token = signed_in(request)
        name = owner(token) if token else None
        return msgspec.structs.replace(request, owner=name) if name in self.owners else None

    def _host_allowed(self, request: ClientRequest, name: str) -> bool:
        host = client.hostname(name)
        if client.is_loopback(host):
            return True
        return bool(host) and (host == request.local[1] or host in self.hosts)

    def _origin_allowed(self, request: ClientRequest) -> bool:
        origin = request.headers.get("origin", "")
        named = origin.partition("://")[2].lower()
        host = client.hostname(named)
        own = bool(host) and (host in self.hosts or named == request.authority.lower())
        return not origin or client.is_loopback(host) or own


def bare(path: str) -> str:
    """A request path without its query, which may hold a key."""
    return path.partition("?")[0]


def upgrades(request: ClientRequest) -> bool:
    """Whether ``request`` wants to become a WebSocket."""
    return "websocket" in request.headers.get("upgrade", "").lower()


def asks_catalog(request: ClientRequest) -> bool:
    """Whether it is Codex that asks for the models, in its own form."""
    return "client_version" in request.query or client.is_codex(request.headers)


def asks_in_browser(request: ClientRequest) -> bool:
    """Whether somebody looks at one of the pages, who can be shown a form instead."""
    seen = bare(request.path) in PAGES and request.method == "GET"
    return seen and "text/html" in request.headers.get("accept", "").lower()


def _page(request: ClientRequest, policy: Policy) -> str:
    """Which of the chain's own pages is asked for; empty: none."""
    path = bare(request.path)
    if path == "/api/models" and (policy.empty or asks_catalog(request)):
        # A client's list of models, where /api is its base URL.
        return ""
    return path if path in PAGES else ""


def _kind(request: ClientRequest, page: str, *, socket: bool) -> Kind:
    if page:
        return "page"
    if socket:
        return "socket"
    if protocol_of(request.path) or is_compact(request.path):
        return "turn"
    return "stored" if stored(request.path) else "models"


def _methods(path: str) -> tuple[str, ...] | None:
    """The methods served at ``path``; None when nothing is."""
    if protocol_of(path) or is_compact(path):
        return _TURN
    if what := stored(path):
        return _GET if what[1] else ("GET", "DELETE")
    return _GET if bare(path).rstrip("/").rpartition("/")[2] == "models" else None


def _is_socket(request: ClientRequest, policy: Policy) -> bool:
    return policy.websocket and upgrades(request) and protocol_of(request.path) == "responses"


def _is_open(request: ClientRequest, page: str) -> bool:
    """Whether a page is there for those without a key: what says more than its state is not."""
    if not page or not PAGES[page].open or request.method not in PAGES[page].methods:
        return False
    return page != "/health" or not request.query


def _is_local(request: ClientRequest) -> bool:
    return client.is_loopback(request.peer)


def _names_loopback(request: ClientRequest) -> bool:
    """Whether it was called by a name of this machine: not by one that a proxy in front has."""
    return client.is_loopback(client.hostname(request.authority))


def _given_keys(fields: Fields) -> list[str]:
    """The keys in ``fields``; a name may come several times."""
    pairs = [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in fields]
    return [key for n, v in pairs for key in client.given_keys({n: v}).values()]


def _without(request: ClientRequest, keys: Collection[str]) -> ClientRequest:
    """``request`` without the credentials that hold one of ``keys``."""

    def other(name: str, value: str) -> bool:
        return not (client.is_credential(name) and not _words(value).isdisjoint(keys))

    fields = tuple(
        f for f in request.fields if other(f[0].decode("latin-1"), f[1].decode("latin-1"))
    )
    path = request.path
    bare_path, _, query = path.partition("?")
    if any(key in unquote_plus(query) for key in keys):
        pairs = [(pair, *pair.partition("=")[::2]) for pair in query.split("&")]
        query = "&".join(p for p, name, value in pairs if other(name, unquote_plus(value)))
        path = f"{bare_path}?{query}" if query else bare_path
    return msgspec.structs.replace(request, fields=fields, headers=headers_of(fields), path=path)


def _words(value: str) -> set[str]:
    return {value, *_BETWEEN.split(value)}


def _garbled(request: ClientRequest) -> str:
    """Why the head of ``request`` cannot go on as it is; empty where it can."""
    if not request.path.startswith("/"):
        # By HTTP/2 it may be anything, and by HTTP/1 it would be another host's address.
        return "the path must begin with a slash"
    if has_control(request.path.encode("utf-8", "surrogateescape")):
        return "the path holds a control character"
    if has_control(b"\t".join(value for _, value in request.fields)):
        names = (name for name, value in request.fields if has_control(value))
        return f"the header field {next(names).decode('latin-1')} holds a control character"
    return ""


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0


def secrets_of(request: ClientRequest, keys: Collection[str]) -> frozenset[str]:
    """What must be written nowhere of a request: its credentials, and the chain's own ``keys``."""
    pairs = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in request.fields]
    pairs += parse_qsl(request.path.partition("?")[2], keep_blank_values=True)
    return frozenset(client.secrets(pairs) | set(keys))
