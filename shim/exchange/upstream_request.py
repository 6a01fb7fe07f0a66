"""What leaves: where to, decided with the route, and the one function that builds the request.

Nothing else writes to an upstream. A request is built once, last, from the finished decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..client import Facts, given_keys, is_codex, session_mark
from ..codex.login import brings_login
from ..policy.schema import Provider
from ..route import choose
from ..route.choose import Route
from ..route.tried import without_tried
from ..route.wayout import way_out
from ..turn import Turn
from ..wire.protocols import COUNT, PATHS, split_path
from ..wire.quirks import quirks
from .values import ClientRequest, Decision, Endpoint, Fields, Intake, Routing, UpstreamRequest

_COMPACT = "/compact"
#: Header fields that concern one connection only, or a body's length there (RFC 9110, section
#: 7.6.1; RFC 9112, section 6), and the name by which the client called the chain.
_HOP = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
#: Fields between a client and the chain.
_OURS = "x-interpose-"
#: Credentials that a client may send besides its login.
_OTHER_KEYS = ("x-api-key",)


class NoTarget(Exception):
    """Why there is nowhere to go, in a sentence."""


def destination(
    intake: Intake,
    turn: Turn,
    facts: Facts | None,
    route: Route,
    provider: Provider | None,
    more: Mapping[str, str] | None = None,
) -> Routing:
    """Where ``turn`` goes on ``route``, and with which headers of the provider's own; ``more`` are
    those of an engine. NoTarget, MissingVariable when a key is not set, LoginError when nobody is
    logged in."""
    ending = _ending(intake, route)
    if provider is None:
        scheme, host, port = _original_target(intake.request)
        mark, query = without_tried(intake.request.path).partition("?")[1:]
        path, own = _prefix(intake.request.path) + ending + mark + query, {}
        if route.protocol != turn.protocol:
            own = _own_key(intake.headers, route.protocol)
    else:
        scheme, host, port, path = choose.address(provider, ending)
        own = {}
        if not (route.login and brings_login(intake.headers)):
            own = _session(intake, turn, facts, provider) | choose.headers(provider)
    secrets = choose.secrets(provider, own) if provider and own else set()
    way = way_out(scheme, host)
    return Routing(
        route,
        provider=provider,
        upstream=(scheme, host, port),
        hop=(way.scheme, way.host, way.port) if way else (scheme, host, port),
        path=path,
        headers=own | dict(more or {}),
        secrets=frozenset(secrets),
    )


def build(intake: Intake, decision: Decision, body: bytes) -> UpstreamRequest:
    """The request that leaves for a turn whose stages have all decided; ``body`` is the turn in
    the upstream's protocol."""
    routing = decision.routing
    assert routing
    fields = _fields(intake, decision, routing)
    plain = [f for f in fields if f[0].lower() != b"content-encoding"]
    same = body is intake.turn.body and not intake.requested_capabilities
    if same and len(plain) < len(fields):
        # Nothing was changed: the bytes pass as they are encoded.
        body = intake.request.body
    else:
        fields = plain
    fields.append((b"content-length", str(len(body)).encode()))
    scheme, host, port = routing.upstream
    via = routing.hop if routing.hop != routing.upstream else None
    path = routing.path
    return UpstreamRequest(scheme, host, port, "POST", path, tuple(fields), body, via)


def to_reverse_target(request: ClientRequest) -> UpstreamRequest:
    """``request`` as it came, for the target of ``--mode reverse:URL``. NoTarget."""
    return sent_to(request, _reverse_target(request), request.path, kept_fields(request.fields))


def sent_to(
    request: ClientRequest, upstream: Endpoint, path: str, fields: Fields
) -> UpstreamRequest:
    """What is no turn, sent to ``upstream``, over the proxy that leads there."""
    scheme, host, port = upstream
    way = way_out(scheme, host)
    via = (way.scheme, way.host, way.port) if way else None
    if request.body:
        fields = (*fields, (b"content-length", str(len(request.body)).encode()))
    return UpstreamRequest(scheme, host, port, request.method, path, fields, request.body, via)


def kept_fields(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Header fields without those of the connection that they came over, which ``connection`` may
    name, too (RFC 9110, section 7.6.1), and those of the chain's own."""
    named = [(name.decode("latin-1").lower(), (name, value)) for name, value in fields]
    hop = _HOP
    for name, (_, value) in named:
        if name == "connection":
            hop = hop | {token.strip() for token in value.decode("latin-1").lower().split(",")}
    return tuple(f for name, f in named if name not in hop and not name.startswith(_OURS))


def fields_of(headers: Mapping[str, str]) -> Fields:
    """Headers as they stand on the wire."""
    return tuple((k.encode(), v.encode("utf-8", "surrogateescape")) for k, v in headers.items())


def _ending(intake: Intake, route: Route) -> str:
    """The end of the upstream's path."""
    if intake.counts:
        return PATHS[route.protocol] + COUNT
    native = intake.compacts and route.protocol == "responses"
    return PATHS[route.protocol] + (_COMPACT if native else "")


def _prefix(path: str) -> str:
    """What stands before the endpoint in a client's path."""
    bare = path.partition("?")[0].rstrip("/")
    return (
        split_path(bare.removesuffix(_COMPACT))[0]
        if bare.endswith(_COMPACT)
        else (split_path(bare)[0])
    )


def _original_target(request: ClientRequest) -> Endpoint:
    """Where a turn goes that nobody routes elsewhere."""
    if request.proxied:
        return request.scheme, request.host, request.port
    return _reverse_target(request)


def _reverse_target(request: ClientRequest) -> Endpoint:
    if request.reverse is None:
        raise NoTarget("this is a forward proxy: the provider reverse leads nowhere here")
    return request.reverse


def _passes(intake: Intake, routing: Routing) -> bool:
    """Whether the client's own header fields go to the target that it has always had."""
    return routing.provider is None and routing.route.protocol == intake.turn.protocol


def _fields(intake: Intake, decision: Decision, routing: Routing) -> list[tuple[bytes, bytes]]:
    if _passes(intake, routing):
        return list(kept_fields(intake.request.fields))
    if routing.route.login:
        return _codex_fields(intake, decision, routing)
    return _fresh(intake, decision, routing, routing.headers)


def _fresh(
    intake: Intake, decision: Decision, routing: Routing, own: Mapping[str, str]
) -> list[tuple[bytes, bytes]]:
    """Fresh headers for an upstream: nothing of the client's machine or session goes along."""
    turn = decision.turn
    headers = {
        "accept": "text/event-stream" if turn.stream else "application/json",
        "content-type": "application/json",
        "user-agent": "interpose",
        **(_anthropic(intake, turn) if routing.route.protocol == "messages" else {}),
        **own,
    }
    return list(fields_of(headers))


def _codex_fields(
    intake: Intake, decision: Decision, routing: Routing
) -> list[tuple[bytes, bytes]]:
    """What the Codex backend gets: a turn of Codex as Codex sends it, with the login.

    A client that brings a login of its own keeps it, since it renews it, too.
    """
    own = dict(routing.headers)
    if not (is_codex(intake.headers) and intake.turn.protocol == "responses"):
        if not own:
            own = {n: intake.headers[n] for n in ("authorization", "chatgpt-account-id")}
        own = {"originator": "interpose", **own, "accept": "text/event-stream"}
        return _fresh(intake, decision, routing, own)
    if "x-codex-routing-hint" in intake.headers:
        own["x-codex-routing-hint"] = f"model={routing.route.model}"
    fields = []
    # In the order in which Codex sends them.
    for name, value in kept_fields(intake.request.fields):
        key = name.decode("latin-1").lower()
        if key in own:
            value = own.pop(key).encode()
        if key not in _OTHER_KEYS:
            fields.append((name, value))
    return [*fields, *fields_of(own)]


def _anthropic(intake: Intake, turn: Turn) -> dict[str, str]:
    """The version of the protocol, and what the client's own turn needs switched on."""
    headers = {"anthropic-version": "2023-06-01"}
    if turn.protocol == "messages":
        names = ("anthropic-version", "anthropic-beta")
        headers |= {n: intake.headers[n] for n in names if n in intake.headers}
    return headers


def _session(intake: Intake, turn: Turn, facts: Facts | None, provider: Provider) -> dict[str, str]:
    """The id of the conversation, for a provider that insists on one."""
    name = quirks(provider.base_url).session
    return {name: session_mark(intake.headers, turn, facts)} if name else {}


def _own_key(headers: Mapping[str, str], protocol: str) -> dict[str, str]:
    """The client's key, in the header in which the upstream's protocol expects it."""
    given = given_keys(headers)
    key = given.get("authorization") or given.get("x-api-key")
    if not key:
        return {}
    return {"x-api-key": key} if protocol == "messages" else {"authorization": f"Bearer {key}"}
