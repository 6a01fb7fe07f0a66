"""Where responses are that this chain has not stored: an upstream that speaks Responses."""

from __future__ import annotations

from ..codex.login import uses_login
from ..policy.load import MissingVariable
from ..policy.schema import Policy, Provider
from ..route import choose
from ..wire.paths import PATHS
from .upstream_request import NoTarget, fields_of, sent_to, to_reverse_target
from .values import ClientRequest, UpstreamRequest

_PATH = PATHS["responses"]


def upstream_of(
    request: ClientRequest, policy: Policy, default: str | None, reverse: str
) -> UpstreamRequest | None:
    """``request`` about a stored response, for the upstream that may have it; None when there is
    none.

    Without a policy that is the reverse target, which speaks ``reverse``; else the provider of the
    ``default`` model, or the first of the policy that speaks Responses.
    """
    provider = _provider(policy, default)
    if provider is None:
        if not policy.empty or reverse != "responses":
            return None
        try:
            return to_reverse_target(request)
        except NoTarget:
            return None
    bare, _, query = request.path.partition("?")
    try:
        scheme, host, port, path = choose.address(provider, _PATH + bare.rpartition(_PATH)[2])
        headers = choose.headers(provider)
    except MissingVariable:
        return None
    if query:
        path += ("&" if "?" in path else "?") + query
    fields = fields_of({"accept": "application/json", "user-agent": "interpose", **headers})
    return sent_to(request, (scheme, host, port), path, fields)


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
