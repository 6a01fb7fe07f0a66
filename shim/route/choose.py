"""Model name to route: which provider, which upstream model, under which name and key."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

import msgspec

from .. import client
from ..policy.load import expand, nearest
from ..policy.schema import Model, Policy, Protocol, Provider


class Route(msgspec.Struct, frozen=True):
    """The way of one turn. ``base_url`` is None for the target of ``--mode reverse:``.

    ``third_party`` upstreams get no private metadata and not the client's own key.
    """

    provider: str
    protocol: Protocol
    model: str
    asked: str
    reason: str
    base_url: str | None = None
    images: bool = True
    third_party: bool = True
    #: The model's name in the policy; empty for ``PROVIDER:MODEL`` and without a policy.
    name: str = ""

    @property
    def label(self) -> str:
        """How the policy calls where it leads."""
        return self.name or f"{self.provider}:{self.model}"


class NoRoute(Exception):
    """No model answers to that name; the sentence says which ones there are."""


def choose(
    policy: Policy, asked: str, *, default: str | None = None, reverse: Protocol = "responses"
) -> Route:
    """The route for the model ``asked``: its exact name, then ``PROVIDER:MODEL``, then the default.

    ``default`` overrides the policy's own; ``reverse`` is the protocol of the reverse target.
    """
    default = default or policy.default
    if policy.empty and not default:
        return Route("reverse", reverse, asked, asked, "no policy", third_party=False)
    if model := policy.models.get(asked):
        return _named(policy, asked, asked, model, "the model's name", reverse)
    if (route := _prefixed(policy, asked, asked, "its provider's name", reverse)) is not None:
        return route
    if default:
        reason = f"the default: no model {asked}" if asked else "the default: no model named"
        found = to(policy, default, asked, reason, reverse)
        if found is None:
            raise NoRoute(
                f"the default model {default} is not in the policy{nearest(default, policy.models)}"
            )
        return found
    raise NoRoute(f"no model {asked!r} in the policy{nearest(asked, policy.models)}")


def to(policy: Policy, name: str, asked: str, reason: str, reverse: Protocol) -> Route | None:
    """The route to the model ``name``, listed or ``PROVIDER:MODEL``; None when there is none."""
    if model := policy.models.get(name):
        return _named(policy, asked, name, model, reason, reverse)
    return _prefixed(policy, asked, name, reason, reverse)


def _named(
    policy: Policy, asked: str, name: str, model: Model, reason: str, reverse: Protocol
) -> Route:
    route = _route(
        policy, model.provider, model.model or name, asked, reason, model.images, reverse
    )
    return msgspec.structs.replace(route, name=name)


def _prefixed(
    policy: Policy, asked: str, name: str, reason: str, reverse: Protocol
) -> Route | None:
    head, colon, rest = name.partition(":")
    if name in policy.agents:
        # Whatever it uses by itself.
        return _route(policy, name, name, asked, reason, True, reverse)
    if not (colon and rest and policy.leads(head)):
        return None
    return _route(policy, head, rest, asked, reason, True, reverse)


def _route(
    policy: Policy, name: str, model: str, asked: str, reason: str, images: bool, reverse: Protocol
) -> Route:
    provider = policy.providers.get(name)
    if provider is not None:
        return Route(name, provider.protocol, model, asked, reason, provider.base_url, images)
    if name == "demo" or name in policy.agents:
        return Route(name, "chat", model, asked, reason, None, images)
    return Route(name, reverse, model, asked, reason, None, images, third_party=False)


def address(provider: Provider, tail: str) -> tuple[str, str, int, str]:
    """(scheme, host, port, path with query) of the endpoint ``tail`` at ``provider``."""
    url = urlsplit(expand(provider.base_url))
    port = url.port or (443 if url.scheme == "https" else 80)
    query = "&".join(
        q for q in (url.query, urlencode({k: expand(v) for k, v in provider.query.items()})) if q
    )
    path = url.path.rstrip("/") + tail + (f"?{query}" if query else "")
    return url.scheme, url.hostname or "", port, path


def headers(provider: Provider, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers a provider asks for, its key among them. MissingVariable when one is not set."""
    found = {name.lower(): expand(value, environ) for name, value in provider.headers.items()}
    key = expand(provider.key, environ)
    auth = provider.auth or ("x-api-key" if provider.protocol == "messages" else "bearer")
    if key and auth != "none":
        name = "authorization" if auth == "bearer" else auth
        found[name] = f"Bearer {key}" if auth == "bearer" else key
    return found


def secrets(provider: Provider, environ: Mapping[str, str] | None = None) -> set[str]:
    """What stands in a provider's entry and must be written nowhere: its key, its credential
    headers and query parameters, and every value that comes from the environment."""
    found = client.secrets(headers(provider, environ).items())
    for name, value in (*provider.headers.items(), *provider.query.items()):
        if "${" in value:
            found.add(expand(value, environ))
        elif client.is_credential(name):
            found |= client.secrets([(name, value)])
    return found
