"""The model to begin with where nobody has chosen one: that of a provider whose key is set, else of
a local server that answers, else the offline demo. All commands that start a chain come here.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..codex.login import login, uses_login
from ..policy.schema import BUILT_IN, Policy, Provider
from ..policy.warn import variables
from .choose import to
from .decide import is_known

#: Seconds a local model server has to answer; longer would hold up everybody who has none.
LOCAL_TIMEOUT = 0.3

#: The providers that may answer on this machine without a key, in this order.
LOCAL = {"ollama": "Ollama", "lmstudio": "LM Studio"}
DEMO = "demo"


@dataclass(frozen=True)
class Choice:
    """A model by the name the chain knows it by, and the reason for it as half a sentence."""

    model: str
    provider: str
    why: str

    @property
    def demo(self) -> bool:
        """Whether no real model could be chosen."""
        return self.provider == DEMO


def initial(policy: Policy, environ: Mapping[str, str]) -> Choice:
    """The first provider of ``policy`` whose variables are all set, a local server, or the demo."""
    for name, provider in policy.providers.items():
        wanted = variables(provider)
        model = model_of(name, policy)
        if wanted and model and all(environ.get(variable) for variable in wanted):
            return Choice(model, name, f"{_listed(wanted)} set")
    for name in LOCAL:
        found = local_models(policy.providers.get(name))
        if found:
            return Choice(f"{name}:{usable(found)}", name, f"{LOCAL[name]} answers on loopback")
    return Choice(DEMO, DEMO, "no provider's key is set, and no Ollama or LM Studio answers")


def instead_of_demo(policy: Policy, model: str | None) -> str | None:
    """``model``, where the policy knows it and its own default is the demo; else None."""
    usual = policy.models.get(policy.default or "")
    return model if model and usual and usual.provider == DEMO and is_known(policy, model) else None


def lacks(policy: Policy, model: str, missing: Mapping[str, list[str]]) -> list[str]:
    """What the provider of ``model`` still needs, each as a short sentence; empty when nothing.

    ``missing``: the variables that are not set where the chain runs, by provider.
    """
    route = to(policy, model, model, "", "responses")
    provider = policy.providers.get(route.provider) if route else None
    if route is None or provider is None:
        return []
    if uses_login(provider) and login() is None:
        return ["nobody is logged in with ChatGPT (codex login)"]
    return [f"{name} is not set" for name in missing.get(route.provider, ())]


def local_models(provider: Provider | None) -> list[str]:
    """The models a server on loopback lists at ``/models``; none when it does not answer."""
    if provider is None:
        return []
    url = urlsplit(provider.base_url)
    connection = http.client.HTTPConnection(
        url.hostname or "", url.port or 80, timeout=LOCAL_TIMEOUT
    )
    try:
        connection.request("GET", f"{url.path.rstrip('/')}/models")
        answer = connection.getresponse()
        listed = json.loads(answer.read(1 << 20)) if answer.status == 200 else {}
        rows = listed.get("data") if isinstance(listed, dict) else None
        found = [row.get("id") for row in rows or [] if isinstance(row, dict)]
        return [name for name in found if isinstance(name, str) and name]
    except (OSError, http.client.HTTPException, ValueError):
        return []
    finally:
        connection.close()


def model_of(provider: str, policy: Policy) -> str | None:
    """The first model of ``policy`` at that provider."""
    names = [name for name, model in policy.models.items() if model.provider == provider]
    if not names and provider in BUILT_IN:
        return provider
    return names[0] if names else None


def usable(found: list[str]) -> str:
    """Prefer a model made for code; never an embedding model, if there is another."""
    talking = [name for name in found if "embed" not in name.lower()] or found
    return next((name for name in talking if "code" in name.lower()), talking[0])


def _listed(names: list[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"
