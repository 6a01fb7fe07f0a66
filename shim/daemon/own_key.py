"""The client key by which the commands of this machine get into a chain."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from ..client import is_loopback
from ..exchange.client_keys import known_keys
from .files import Files

#: The variable by which every client of the chain is given its key.
VARIABLE = "INTERPOSE_KEY"


def own_key(url: str, files: Files, env: Mapping[str, str]) -> str:
    """The key for the chain at ``url``; empty when none is known here.

    The daemon's is in its file. For another chain the variable INTERPOSE_KEY has it, or, where that
    is on this machine, what the chain itself is started with: INTERPOSE_CLIENT_KEYS, or its file.
    """
    parts = urlsplit(url)
    here = is_loopback(parts.hostname or "")
    if here and parts.port and parts.port == files.who().get("port"):
        return files.kept_key()
    return named_key(env) if here else env.get(VARIABLE, "")


def named_key(env: Mapping[str, str]) -> str:
    """The key that the environment names for chains of this machine; empty when it names none."""
    if found := env.get(VARIABLE):
        return found
    try:
        return next(iter(known_keys(env)), "")
    except ValueError:
        return ""


def bearer(key: str) -> dict[str, str]:
    """The header that shows ``key``; none for none, or for what no header can hold."""
    return {"authorization": f"Bearer {key}"} if key and key.isascii() and key.isprintable() else {}
