"""What a policy may mean, but what costs, does nothing, or needs a variable that is not set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from ..wire.address import extra
from ..wire.paths import PATHS
from .read import Where
from .rules import CatchRule
from .schema import Policy, Provider
from .variables import VARIABLE, meant

#: A field's place, and a sentence about it.
Told = tuple[Where, str]
_EDITS = ("inject", "replace", "drop", "strip", "cap")


def expanded(name: str, provider: Provider) -> Iterator[tuple[Where, str]]:
    """The texts of a provider in which variables are read, each with its place."""
    at = ("providers", name)
    yield (*at, "base_url"), provider.base_url
    yield (*at, "key"), provider.key
    for field in ("headers", "query"):
        yield from (((*at, field, k), v) for k, v in getattr(provider, field).items())


def variables(provider: Provider) -> list[str]:
    """The environment variables that a provider's address, key, headers and query are read from."""
    texts = [text for _, text in expanded("", provider)]
    return sorted({name for text in texts for name in VARIABLE.findall(text)})


def lacking(policy: Policy, environ: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """The variables that are not set, by provider; providers that have all are left out."""
    env = os.environ if environ is None else environ
    missing = {
        name: [variable for variable in variables(provider) if not env.get(variable)]
        for name, provider in policy.providers.items()
    }
    return {name: names for name, names in missing.items() if names}


def unset(policy: Policy, environ: Mapping[str, str] | None = None) -> Iterator[Told]:
    """Each variable a policy names that is not set: where, and a sentence."""
    env = os.environ if environ is None else environ
    for name, provider in policy.providers.items():
        for where, text in expanded(name, provider):
            for variable in VARIABLE.findall(text):
                if not env.get(variable):
                    yield where, f"the variable {variable} is not set: {name} counts as down"
    for number, rule in enumerate(policy.redact):
        for variable in VARIABLE.findall(rule.value or ""):
            if not env.get(variable):
                said = f"the variable {variable} is not set: {rule.name} masks nothing"
                yield ("redact", number, "value"), said


def warnings(policy: Policy, environ: Mapping[str, str] | None = None) -> Iterator[Told]:
    """What works, but costs or does nothing: where, and a sentence."""
    for number, rule in enumerate(policy.catch):
        yield from _costs(number, rule)
    if policy.apply == "now" and (
        policy.catch or policy.tools or policy.redact or policy.dedup or policy.cache
    ):
        yield (
            ("apply",),
            "an edit of catch, tools, dedup, cache or redact rewrites the prompts of all threads "
            "under way: each of them is sent once more without the provider's cache",
        )
    for number, route in enumerate(policy.route[:-1]):
        if route.when == type(route.when)():
            label = policy.route[number + 1].name or f"route[{number + 1}]"
            yield ("route", number), f"holds for every turn: {label} and what follows never do"
            break
    for number, limit in enumerate(policy.limits):
        at: Where = ("limits", number)
        if limit.then == "cheaper":
            yield (
                at,
                "a model that is asked for by its own name keeps it beyond the limit; "
                "refuse stops these too",
            )
        unpriced = [name for name, model in policy.models.items() if model.price is None]
        if limit.money is not None and unpriced:
            yield at, f"no price, so nothing is counted: {', '.join(unpriced)}"
    for name, provider in policy.providers.items():
        yield from _addresses(name, provider)
        yield from _literal(name, provider)
    yield from unset(policy, environ)
    yield from _strange(policy, os.environ if environ is None else environ)


def _addresses(name: str, provider: Provider) -> Iterator[Told]:
    """A base_url that holds what the chain itself adds."""
    bare = provider.base_url.partition("?")[0]
    if ending := extra(bare.partition("://")[2] or bare):
        path = PATHS[provider.protocol]
        adds = "which the chain adds itself" if ending == path else f"and the chain adds {path}"
        sentence = f"ends in {ending}, {adds}; leave {ending} out"
        yield ("providers", name, "base_url"), sentence


def _literal(name: str, provider: Provider) -> Iterator[Told]:
    """Where a variable is meant and its name itself would be sent."""
    for where, text in expanded(name, provider):
        if literal := meant(text):
            word, variable = literal
            yield where, f"{word} is sent as it stands; write ${{{variable}}} for its value"


def _strange(policy: Policy, environ: Mapping[str, str]) -> Iterator[Told]:
    """Where the ChatGPT login is sent to somebody else than its owner."""
    for name, provider in policy.providers.items():
        if provider.auth != "chatgpt":
            continue
        address = provider.base_url or environ.get("OPENAI_API_BASE_URL", "")
        host = urlsplit(VARIABLE.sub(lambda m: environ.get(m[1], ""), address)).hostname
        if host and host != "chatgpt.com":
            source = "base_url" if provider.base_url else "OPENAI_API_BASE_URL"
            yield ("providers", name), f"the ChatGPT login is sent to {host}, which {source} names"


def _costs(number: int, rule: CatchRule) -> Iterator[Told]:
    at: Where = ("catch", number)
    edits = any(getattr(rule, name) not in (None, False) for name in _EDITS)
    lost = "rewrites what was already sent with every turn: the provider's cache is lost from there"
    if edits and rule.when.position == "newest":
        yield at, f"{lost} on; a position counted from the start keeps it"
    if rule.inject and rule.inject.at == "end":
        yield at, f"{lost} on; at start or after_instructions keeps it"
    roles = rule.when.role if isinstance(rule.when.role, list) else [rule.when.role]
    tells = rule.when.tool is not None and rule.when.role is not None
    if tells and not {"tool", "assistant"} & {str(r) for r in roles}:
        yield at, "never applies: only calls (assistant) and outputs (tool) belong to a tool"
