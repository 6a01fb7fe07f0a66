"""`interpose run --intercept`: an untouched Codex whose way to its models leads through a chain.

Its config and login stay its own. What it needs to know stands in its environment: a proxy, and a
CA that exists for this one session.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ..codex.where import without_proxy
from ..route.intercept import BASES
from . import UserError
from .chain import Chain

_CERTIFICATE = "mitmproxy-ca-cert.pem"
#: Variables that name certificates which a user trusts besides, in Codex's order.
_TRUSTED = ("CODEX_CA_CERTIFICATE", "SSL_CERT_FILE")


def arguments(rest: Sequence[str]) -> list[str]:
    """What Codex is called with, of ``codex …`` behind ``--``."""
    return list(rest[1:] if rest[:1] == ["codex"] else rest)


def trust(chain: Chain) -> Path:
    """The file that names the chain's CA to Codex, beside what the user trusts already."""
    known = next((os.environ[name] for name in _TRUSTED if os.environ.get(name)), None)
    try:
        texts = [(chain.confdir / _CERTIFICATE).read_bytes()]
        texts += [Path(known).expanduser().read_bytes()] if known else []
    except OSError as e:
        raise UserError(f"{e.filename}: {e.strerror}; it should hold certificates") from None
    bundle = chain.folder / "trusted.pem"
    bundle.write_bytes(b"\n".join(texts))
    return bundle


def client_environment(
    proxy: int, trusted: Path, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of a Codex that goes by way of the chain's ``proxy`` port.

    UserError where it would not.
    """
    env = dict(os.environ if environ is None else environ)
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        env[name] = env[name.lower()] = f"http://127.0.0.1:{proxy}"
    env = without_proxy(env)
    direct = f"{env['NO_PROXY']},{env['no_proxy']}"
    for base in BASES:
        host = urlsplit(base).hostname or ""
        if urllib.request.proxy_bypass_environment(host, {"no": direct}):  # type: ignore[attr-defined]
            raise UserError(f"NO_PROXY lets {host} go past every proxy, so nothing would be seen")
    env["CODEX_CA_CERTIFICATE"] = str(trusted)
    return env
