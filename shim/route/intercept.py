"""What of a forward proxy's traffic is a turn: requests to where models are known to be."""

from __future__ import annotations

import posixpath
import re
import socket
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from ..codex.login import BACKEND, LoginError, backend, uses_login
from ..policy.load import MissingVariable, expand
from ..policy.schema import Policy
from ..wire.paths import split_path

#: Where Codex sends turns without any config: with a key, and with a ChatGPT login.
BASES = ("https://api.openai.com/v1", BACKEND)
_COMPACT = "/compact"

Endpoint = tuple[str, int]


class Intercepts:
    """The hosts that are looked into: Codex's own, and those of a policy's providers."""

    def __init__(self, policy: Policy) -> None:
        self._paths: dict[Endpoint, set[str]] = {}
        for base in (*BASES, *_bases(policy)):
            try:
                url = urlsplit(base)
                port = url.port or (443 if url.scheme == "https" else 80)
            except ValueError:
                continue
            if url.hostname:
                self._paths.setdefault((_named(url.hostname), port), set()).add(
                    url.path.rstrip("/")
                )

    def host(self, host: str, port: int) -> bool:
        """Whether turns may go there."""
        return (_named(host), port) in self._paths

    def turn(self, host: str, port: int, path: str) -> bool:
        """Whether a request there is a turn, a compaction, or an upgrade for turns."""
        bare = path.partition("?")[0].rstrip("/")
        base, ending = split_path(bare)
        if not ending and bare.endswith(_COMPACT):
            base, ending = split_path(bare.removesuffix(_COMPACT))
        return bool(ending) and base in self._paths.get((_named(host), port), ())

    def disguised(self, host: str, port: int, path: str) -> bool:
        """Whether ``path`` is no turn as it is written, and might be one to a server that reads
        paths more freely: escapes, doubled slashes, dots, capitals."""
        plain = posixpath.normpath(unquote(unquote(path.partition("?")[0]))).lower()
        plain = re.sub(r"/{2,}", "/", plain.replace("\\", "/").partition(";")[0])
        return not self.turn(host, port, path) and self.turn(host, port, plain)


def _named(host: str) -> str:
    """``host`` as it is written, of all spellings that lead there: a dot at its end, capitals,
    numbers that stand for an address."""
    name = host.lower().removesuffix(".")
    try:
        return str(ip_address(name)) if ":" in name else socket.inet_ntoa(socket.inet_aton(name))
    except (OSError, ValueError):
        return name


def _bases(policy: Policy) -> list[str]:
    found = []
    for provider in policy.providers.values():
        try:
            found.append(backend(provider) if uses_login(provider) else expand(provider.base_url))
        except (MissingVariable, LoginError):
            continue
    return found
