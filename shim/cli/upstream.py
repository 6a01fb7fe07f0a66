"""Which model `make run` uses: the one that UPSTREAM names, else the one to begin with."""

from __future__ import annotations

from collections.abc import Mapping

from ..policy.schema import Policy
from ..policy.warn import variables
from ..route.initial import LOCAL, Choice, initial, local_models, model_of, usable
from . import UserError


def choose(policy: Policy, environ: Mapping[str, str]) -> Choice:
    """What ``UPSTREAM`` says, else what `initial` does.

    UserError when ``UPSTREAM`` names something unknown or something that cannot be used now.
    """
    asked = environ.get("UPSTREAM", "").strip()
    return _asked(asked, policy, environ) if asked else initial(policy, environ)


def _asked(asked: str, policy: Policy, environ: Mapping[str, str]) -> Choice:
    head, colon, rest = asked.partition(":")
    why = f"UPSTREAM={asked}"
    if asked in policy.models:
        return _ready(Choice(asked, policy.models[asked].provider, why), policy, environ)
    known = [*policy.providers, "demo"]
    if head not in known:
        raise UserError(f"UPSTREAM={asked}: there is no such provider; valid: {', '.join(known)}")
    if colon and rest:
        return _ready(Choice(asked, head, why), policy, environ)
    if head in LOCAL:
        found = local_models(policy.providers[head])
        if not found:
            address = policy.providers[head].base_url
            raise UserError(f"UPSTREAM={asked}: {LOCAL[head]} lists no model at {address}")
        return Choice(f"{head}:{usable(found)}", head, why)
    model = model_of(head, policy)
    if not model:
        raise UserError(f"UPSTREAM={asked}: name a model too, as UPSTREAM={head}:MODEL")
    return _ready(Choice(model, head, why), policy, environ)


def _ready(choice: Choice, policy: Policy, environ: Mapping[str, str]) -> Choice:
    provider = policy.providers.get(choice.provider)
    missing = [v for v in (variables(provider) if provider else []) if not environ.get(v)]
    if missing:
        raise UserError(f"{choice.why}: {' and '.join(missing)} is not set")
    return choice
