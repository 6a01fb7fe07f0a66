"""Every key that a policy holds: it is written nowhere, whichever provider a turn goes to."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from .. import client
from ..codex import login
from ..policy.load import MissingVariable, expand
from ..policy.schema import Policy, Provider
from ..policy.variables import VARIABLE

#: Variables that may hold an address with a password in it.
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
#: Variables that hold headers as ``name=value,name=value``.
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
#: What is shorter, or a plain word, may stand in any text (``key: lmstudio``).
_SHORTEST, _RANDOM = 8, 16


def keys_of(policy: Policy, environ: Mapping[str, str] | None = None) -> frozenset[str]:
    """The keys of all providers and agents of ``policy``, and those that the environment names for
    telemetry and the way out; what is a plain word is none."""
    env = os.environ if environ is None else environ
    found: set[str] = set()
    for provider in policy.providers.values():
        found |= _provider(provider, env)
    for agent in policy.agents.values():
        for name, value in agent.env.items():
            if "${" in value or client.is_credential(name.replace("_", "-")):
                found.add(_expanded(value, env))
    for name, value in env.items():
        if name.lower() in _PROXIES:
            found |= in_address(value)
    for name in _HEADERS:
        pairs = [pair.partition("=")[::2] for pair in env.get(name, "").split(",")]
        found |= client.secrets((field.strip(), unquote(value.strip())) for field, value in pairs)
    return frozenset(value for value in found if not _is_word(value))


def in_address(address: str) -> set[str]:
    """The password of an address, and the credentials in its query."""
    try:
        url = urlsplit(address)
        password = url.password or ""
    except ValueError:
        return set()
    found = client.secrets(parse_qsl(url.query)) | {password, unquote(password)}
    return found - {""}


def telling(keys: frozenset[str]) -> frozenset[str]:
    """Those of ``keys`` that look made at random: no answer holds one by chance."""
    return frozenset(key for key in keys if _is_random(key))


def _provider(provider: Provider, env: Mapping[str, str]) -> set[str]:
    values = (provider.key, *provider.headers.values(), *provider.query.values())
    # Each by itself: one variable that is not set hides no other.
    found = {_expanded(value, env) for value in values if "${" in value} | {provider.key}
    for value in values:
        found |= {env.get(name, "") for name in VARIABLE.findall(value)}
    for name, value in (*provider.headers.items(), *provider.query.items()):
        found |= client.secrets([(name, _expanded(value, env))])
    found |= address_keys(provider.base_url, env)
    if login.uses_login(provider):
        try:
            found |= client.secrets(login.headers(env).items())
        except (login.LoginError, MissingVariable):
            pass
    return found


def address_keys(base_url: str, environ: Mapping[str, str] | None = None) -> set[str]:
    """What a provider's address holds that must be written nowhere: a password, credentials of its
    query, and values of the environment that look like a key, wherever they stand in it."""
    env = os.environ if environ is None else environ
    found = in_address(_expanded(base_url, env))
    for name in VARIABLE.findall(base_url):
        value = env.get(name, "")
        found |= in_address(value) if "://" in value else {value} if _is_random(value) else set()
    return found


def _expanded(value: str, env: Mapping[str, str]) -> str:
    try:
        return expand(value, env)
    except MissingVariable:
        return ""


def _is_random(value: str) -> bool:
    return len(value) >= _RANDOM and bool(re.search(r"\d", value) and re.search("[A-Za-z]", value))


def _is_word(value: str) -> bool:
    return len(value) < _SHORTEST or (value.isalpha() and value.islower())
