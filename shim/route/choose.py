"""Model name to route: which provider, which upstream model, under which name and key."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

import msgspec

from .. import client
from ..codex import login
from ..codex.login import backend, offered, uses_login
from ..policy.load import expand, nearest
from ..policy.schema import Model, Policy, Protocol, Provider
from .keys import address_keys

#: An old name of the model that a ChatGPT login gives, and all that begin with it.
_ALIAS = "openai-gpt-5-5"
_ALIASED = "gpt-5.5"


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
    #: Asked with the ChatGPT login that Codex keeps.
    login: bool = False

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
    name = known_as(policy, asked)
    if model := policy.models.get(name):
        return _named(policy, asked, name, model, "the model's name", reverse)
    if (route := _prefixed(policy, asked, name, "its provider's name", reverse)) is not None:
        return route
    if default:
        reason = f"the default: no model {asked}" if asked else "the default: no model named"
        found = to(policy, default, asked, reason, reverse)
        if found is None:
            near = nearest(default, offered(policy))
            raise NoRoute(f"the default model {default} is not in the policy{near}")
        return found
    raise NoRoute(f"no model {asked!r} in the policy{nearest(asked, offered(policy))}")


def to(policy: Policy, name: str, asked: str, reason: str, reverse: Protocol) -> Route | None:
    """The route to the model ``name``, listed or ``PROVIDER:MODEL``; None when there is none."""
    name = known_as(policy, name)
    if model := policy.models.get(name):
        return _named(policy, asked, name, model, reason, reverse)
    return _prefixed(policy, asked, name, reason, reverse)


def known_as(policy: Policy, name: str) -> str:
    """``name``, or what it stands for where it is an alias for the model of the ChatGPT login."""
    if not name.startswith(_ALIAS) or ":" in name or name in policy.models:
        return name
    for provider in (n for n, p in policy.providers.items() if uses_login(p)):
        for listed, model in policy.models.items():
            if model.provider == provider and (model.model or listed) == _ALIASED:
                return listed
        return f"{provider}:{_ALIASED}"
    return name


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
        own = uses_login(provider)
        return Route(
            name,
            provider.protocol,
            model,
            asked,
            reason,
            provider.base_url,
            images,
            third_party=not own,
            login=own,
        )
    if name == "demo" or name in policy.agents:
        return Route(name, "chat", model, asked, reason, None, images)
    return Route(name, reverse, model, asked, reason, None, images, third_party=False)


def address(
    provider: Provider, tail: str, environ: Mapping[str, str] | None = None
) -> tuple[str, str, int, str]:
    """(scheme, host, port, path with query) of the endpoint ``tail`` at ``provider``."""
    own = uses_login(provider)
    base = backend(provider, environ) if own else expand(provider.base_url, environ)
    url = urlsplit(base)
    port = url.port or (443 if url.scheme == "https" else 80)
    also = urlencode({name: expand(value, environ) for name, value in provider.query.items()})
    query = "&".join(part for part in (url.query, also) if part)
    path = url.path.rstrip("/") + tail + (f"?{query}" if query else "")
    return url.scheme, url.hostname or "", port, path


def headers(provider: Provider, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers a provider asks for, its key among them. MissingVariable when one is not set,
    LoginError when nobody is logged in."""
    found = {name.lower(): expand(value, environ) for name, value in provider.headers.items()}
    if uses_login(provider):
        backend(provider, environ)
        return found | login.headers(environ)
    key = expand(provider.key, environ)
    auth = provider.auth or ("x-api-key" if provider.protocol == "messages" else "bearer")
    if key and auth != "none":
        name = "authorization" if auth == "bearer" else auth
        found[name] = f"Bearer {key}" if auth == "bearer" else key
    return found


def secrets(
    provider: Provider, sent: Mapping[str, str], environ: Mapping[str, str] | None = None
) -> set[str]:
    """What must be written nowhere: the credentials among the headers that a provider is ``sent``,
    of its entry credential headers and query parameters, every value that comes from the
    environment, and what its address holds."""
    found = client.secrets(sent.items())
    for name, value in (*provider.headers.items(), *provider.query.items()):
        if "${" in value:
            found.add(expand(value, environ))
        elif client.is_credential(name):
            found |= client.secrets([(name, value)])
    return found | address_keys(provider.base_url, environ)
