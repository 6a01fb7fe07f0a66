"""Who is calling, read off the request's headers. Source: codex-wire.md section 2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: Headers that hold a credential: never written down, never sent to another provider.
CREDENTIALS = frozenset({
    "authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie",
    "set-cookie", "chatgpt-account-id", "openai-organization", "openai-project",
})
_LOOPBACK = frozenset({"localhost", "::1", "0:0:0:0:0:0:0:1"})


def is_codex(headers: Mapping[str, str]) -> bool:
    """Whether Codex sent this request, whatever name its app-server client gave itself."""
    return (
        "x-codex-turn-metadata" in headers
        or "x-codex-window-id" in headers
        or headers.get("originator", "").lower().startswith("codex")
        or "codex" in headers.get("user-agent", "").lower()
    )


def given_key(headers: Mapping[str, str]) -> str:
    """The client's own key, from ``Authorization: Bearer`` or ``x-api-key``; empty without one."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and value:
        return value.strip()
    return headers.get("x-api-key", "").strip()


def secrets(headers: Iterable[tuple[str, str]]) -> set[str]:
    """The values of all credentials among ``headers``, without their scheme."""
    found = set()
    for name, value in headers:
        if name.lower() in CREDENTIALS:
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
