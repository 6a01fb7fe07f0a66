"""Failover without a relay: a client is sent back to us by 307, with what was tried in the query.

Which clients follow a 307 to the same origin, body and key again, was tried with each of them
(docs/failover.md); others are told to come again.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlsplit

NAME = "interpose-tried"
#: Clients that follow (shim.client.client_name).
FOLLOW = frozenset({"codex", "claude-code", "openai-sdk", "anthropic-sdk"})


def tried_in(path: str) -> frozenset[str]:
    """The candidates that were tried already, by a request's path."""
    if NAME not in path:
        return frozenset()
    query = parse_qsl(urlsplit(path).query)
    return frozenset(value for key, value in query if key == NAME)


def without_tried(path: str) -> str:
    """A request's path as its client first asked."""
    if NAME not in path:
        return path
    bare, _, query = path.partition("?")
    kept = "&".join(p for p in query.split("&") if not p.startswith(f"{NAME}="))
    return f"{bare}?{kept}" if kept else bare


def again(path: str, tried: frozenset[str]) -> str:
    """The path under which the same request passes over what was ``tried``."""
    # Two slashes at the beginning would name another host.
    clean = "/" + without_tried(path).lstrip("/")
    names = "&".join(f"{NAME}={quote(name, safe='')}" for name in sorted(tried))
    return f"{clean}{'&' if '?' in clean else '?'}{names}"
