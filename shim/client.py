"""Who is calling, read off the request's headers. Source: codex-wire.md section 2."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

#: Headers that hold a credential: never written down, never sent to another provider.
CREDENTIALS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "cookie",
        "set-cookie",
        "chatgpt-account-id",
        "openai-organization",
        "openai-project",
    }
)
#: A name with one of these words in it holds a credential as well (x-gateway-token, access_key).
_CREDENTIAL_WORDS = frozenset(
    {
        "authorization",
        "auth",
        "key",
        "apikey",
        "token",
        "secret",
        "password",
        "credential",
        "cookie",
    }
)
#: Shorter values under such names may be ordinary words.
_SURELY_SECRET = 12
_LOOPBACK = frozenset({"localhost", "::1", "0:0:0:0:0:0:0:1"})


def is_codex(headers: Mapping[str, str]) -> bool:
    """Whether Codex sent this request, whatever name its app-server client gave itself."""
    return (
        "x-codex-turn-metadata" in headers
        or "x-codex-window-id" in headers
        or headers.get("originator", "").lower().startswith("codex")
        or "codex" in headers.get("user-agent", "").lower()
    )


def given_keys(headers: Mapping[str, str]) -> dict[str, str]:
    """The client's own keys by the header that holds them: a bearer token, ``x-api-key``."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    found = {
        "authorization": value.strip() if kind.lower() == "bearer" else "",
        "x-api-key": headers.get("x-api-key", "").strip(),
    }
    return {name: key for name, key in found.items() if key}


@lru_cache(maxsize=1024)
def is_credential(name: str) -> bool:
    """Whether a header or query parameter of that name holds a credential."""
    name = name.lower()
    return name in CREDENTIALS or not _CREDENTIAL_WORDS.isdisjoint(re.split(r"[-_.]", name))


def secrets(headers: Iterable[tuple[str, str]]) -> set[str]:
    """The values of all credentials among ``headers``, with and without their scheme."""
    found = set()
    for name, value in headers:
        sure = name.lower() in CREDENTIALS
        if sure or (is_credential(name) and len(value) >= _SURELY_SECRET):
            found |= {value, value.partition(" ")[2].strip() or value}
    return found


def hostname(authority: str) -> str:
    """The host of a Host header or authority: no port, no brackets, lower case."""
    host = authority.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine only."""
    octets = host.removeprefix("::ffff:").split(".")
    numeric = len(octets) == 4 and all(o.isdigit() and int(o) < 256 for o in octets)
    return host in _LOOPBACK or host.endswith(".localhost") or (numeric and octets[0] == "127")
