"""Where responses are that this chain has not stored: an upstream that speaks Responses."""

from __future__ import annotations

from mitmproxy import ctx, http

from addons.exchange import Chain, fields
from shim.codex.login import uses_login
from shim.policy.load import MissingVariable
from shim.policy.schema import Policy, Provider
from shim.record.redact import Redactor
from shim.route import choose
from shim.route.wayout import way_out
from shim.wire.protocols import PATHS


def aim(flow: http.HTTPFlow, chain: Chain) -> bool:
    """Send a request about a stored response to the upstream that may have it, if there is one.

    Without a policy that is the reverse target; else the provider of the default model, or the
    first of the policy that speaks Responses.
    """
    policy = chain.policies.current()
    provider = _provider(policy, chain.default(policy))
    if provider is None:
        return policy.empty and ctx.options.upstream == "responses"
    request = flow.request
    ending = PATHS["responses"] + request.path.rpartition(PATHS["responses"])[2]
    try:
        scheme, host, port, path = choose.address(provider, ending.partition("?")[0])
        headers = choose.headers(provider)
    except MissingVariable:
        return False
    query = request.path.partition("?")[2]
    request.headers = fields({"accept": "application/json", "user-agent": "interpose", **headers})
    request.scheme, request.path = scheme, path
    if query:
        request.path += ("&" if "?" in path else "?") + query
    request.port, request.host = port, host
    if way := way_out(scheme, host):
        flow.server_conn.via = (way.scheme, (way.host, way.port))
    return True


def clean(flow: http.HTTPFlow) -> None:
    """Take the keys out of a request that is not recorded but may be seen or saved (``-w``)."""
    redact, request = Redactor(()), flow.request
    request.headers = http.Headers(redact.headers(request.headers.fields))
    request.path = redact.path(request.path)


def _provider(policy: Policy, default: str | None) -> Provider | None:
    try:
        first = policy.providers.get(choose.choose(policy, "", default=default).provider)
    except choose.NoRoute:
        first = None
    for provider in (first, *policy.providers.values()):
        # Behind a login nothing is stored, and nobody but a turn is to use it.
        if provider and provider.protocol == "responses" and not uses_login(provider):
            return provider
    return None
