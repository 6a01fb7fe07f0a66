"""Which model `make run` uses: the one asked for, else one that can be reached, else the demo."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..policy.schema import BUILT_IN, Policy, Provider
from . import UserError

#: Seconds a local model server has to answer; longer would hold up everybody who has none.
LOCAL_TIMEOUT = 0.3

_LOCAL = {"ollama": "Ollama", "lmstudio": "LM Studio"}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Choice:
    """A model by the name the chain knows it by, and the reason for it as half a sentence."""

    model: str
    provider: str
    why: str


def choose(policy: Policy, environ: Mapping[str, str]) -> Choice:
    """What ``UPSTREAM`` says, or the first provider with a key, or a local server, or the demo.

    UserError when ``UPSTREAM`` names something unknown or something that cannot be used now.
    """
    asked = environ.get("UPSTREAM", "").strip()
    if asked:
        return _asked(asked, policy, environ)
    for name, provider in policy.providers.items():
        wanted = variables(provider)
        model = _model_of(name, policy)
        if wanted and model and all(environ.get(variable) for variable in wanted):
            return Choice(model, name, f"{' and '.join(wanted)} is in the environment")
    for name in _LOCAL:
        found = local_models(policy.providers.get(name))
        if found:
            return Choice(f"{name}:{_usable(found)}", name, f"{_LOCAL[name]} answers on loopback")
    return Choice("demo", "demo", "no provider's key is set, and no Ollama or LM Studio answers")


def variables(provider: Provider) -> list[str]:
    """The environment variables a provider's key and headers are read from."""
    texts = [provider.key, *provider.headers.values(), *provider.query.values()]
    return sorted({name for text in texts for name in _VARIABLE.findall(text)})


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
    if head in _LOCAL:
        found = local_models(policy.providers[head])
        if not found:
            address = policy.providers[head].base_url
            raise UserError(f"UPSTREAM={asked}: {_LOCAL[head]} lists no model at {address}")
        return Choice(f"{head}:{_usable(found)}", head, why)
    model = _model_of(head, policy)
    if not model:
        raise UserError(f"UPSTREAM={asked}: name a model too, as UPSTREAM={head}:MODEL")
    return _ready(Choice(model, head, why), policy, environ)


def _ready(choice: Choice, policy: Policy, environ: Mapping[str, str]) -> Choice:
    provider = policy.providers.get(choice.provider)
    missing = [v for v in (variables(provider) if provider else []) if not environ.get(v)]
    if missing:
        raise UserError(f"{choice.why}: {' and '.join(missing)} is not set")
    return choice


def _model_of(provider: str, policy: Policy) -> str | None:
    names = [name for name, model in policy.models.items() if model.provider == provider]
    if not names and provider in BUILT_IN:
        return provider
    return names[0] if names else None


def _usable(found: list[str]) -> str:
    """Prefer a model made for code; never an embedding model, if there is another."""
    talking = [name for name in found if "embed" not in name.lower()] or found
    return next((name for name in talking if "code" in name.lower()), talking[0])
