"""The ChatGPT login that Codex keeps in ``auth.json``: read for each request, never written.

The chain renews nothing: a refresh token counts once, and it is Codex's. Source: codex-wire.md,
section 11.
"""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from ..client import given_keys, is_loopback
from ..policy.load import expand
from ..policy.schema import Model, Policy, Provider

BACKEND = "https://chatgpt.com/backend-api/codex"
#: Names another backend, for providers of ``auth: chatgpt`` that name none themselves.
BASE_URL = "OPENAI_API_BASE_URL"
FILE = "auth.json"
RENEW = (
    "the ChatGPT login was refused; start codex once with that login, which renews it, "
    "or run `codex login`"
)
#: A login is a few kilobytes.
_LARGEST = 1 << 20
_VALUE = re.compile(r"[!-~]+")
_CLAIMS = "https://api.openai.com/auth"


class LoginError(Exception):
    """Why nothing can be sent with the ChatGPT login: half a sentence without any of its values."""


class Login(msgspec.Struct, frozen=True):
    """What is sent of a login."""

    access_token: str
    account_id: str

    @property
    def headers(self) -> dict[str, str]:
        """As Codex sends it."""
        found = {"authorization": f"Bearer {self.access_token}"}
        return {**found, "chatgpt-account-id": self.account_id} if self.account_id else found


class _Tokens(msgspec.Struct):
    access_token: str | None = None
    account_id: str | None = None
    id_token: str | None = None


class _File(msgspec.Struct):
    auth_mode: str | None = None
    tokens: _Tokens | None = None


_Stamp = tuple[int, int, int]
_known: dict[Path, tuple[_Stamp, Login | None]] = {}


def login(environ: Mapping[str, str] | None = None) -> Login | None:
    """The first login in the places where Codex may keep one; None when nobody is logged in."""
    return next((found for path in places(environ) if (found := _at(path))), None)


def places(environ: Mapping[str, str] | None = None) -> list[Path]:
    """Where ``auth.json`` may be, in the order of looking."""
    env = os.environ if environ is None else environ
    found = [Path(env[n]).expanduser() for n in ("CODEX_HOME", "OPENAI_CODEX_PATH") if env.get(n)]
    homes = [env[name] for name in ("HOME", "USERPROFILE") if env.get(name)]
    found += [Path(home) / ".codex" for home in homes]
    # OPENAI_CODEX_PATH may name the file itself.
    return list(dict.fromkeys(p if p.name == FILE else p / FILE for p in found))


def uses_login(provider: Provider | None) -> bool:
    """Whether ``provider`` is asked with the ChatGPT login."""
    return provider is not None and provider.auth == "chatgpt"


def offered(policy: Policy) -> dict[str, Model]:
    """The models of ``policy``; those behind a login only while somebody is logged in."""
    behind = {name for name, provider in policy.providers.items() if uses_login(provider)}
    if not behind or login():
        return dict(policy.models)
    return {name: m for name, m in policy.models.items() if m.provider not in behind}


def backend(provider: Provider, environ: Mapping[str, str] | None = None) -> str:
    """The address of the Codex backend. LoginError where the login could be read on the way."""
    env = os.environ if environ is None else environ
    address = expand(provider.base_url, env) or env.get(BASE_URL) or BACKEND
    try:
        url = urlsplit(address)
        host, _ = url.hostname or "", url.port
    except ValueError:
        raise LoginError("the address of the Codex backend is none") from None
    # Who answers for x.localhost is for DNS to say.
    local = is_loopback(host) and not host.endswith(".localhost")
    safe = url.scheme == "https" or (url.scheme == "http" and local)
    if not (host and safe) or url.username is not None:
        raise LoginError(
            "the ChatGPT login is sent by https, or to this machine, and nowhere else; "
            f"see base_url of the policy and {BASE_URL}"
        )
    return address


def headers(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The login as headers. LoginError when nobody is logged in."""
    found = login(environ)
    if found is None:
        raise LoginError("nobody is logged in with ChatGPT here; run `codex login`")
    return found.headers


def brings_login(headers: Mapping[str, str]) -> bool:
    """Whether a client sends a ChatGPT login of its own, which it renews itself."""
    return "chatgpt-account-id" in headers and "authorization" in given_keys(headers)


def _at(path: Path) -> Login | None:
    try:
        told = os.stat(path)
        stamp = (told.st_mtime_ns, told.st_size, told.st_ino)
        known = _known.get(path)
        if known is None or known[0] != stamp:
            usable = stat.S_ISREG(told.st_mode) and told.st_size <= _LARGEST
            known = _known[path] = (stamp, _read(path.read_bytes()) if usable else None)
    except OSError:
        _known.pop(path, None)
        return None
    return known[1]


def _read(text: bytes) -> Login | None:
    try:
        file = msgspec.json.decode(text, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    tokens = file.tokens
    if tokens is None or file.auth_mode == "apikey" or not _sendable(tokens.access_token):
        return None
    assert tokens.access_token
    account = tokens.account_id or _account(tokens.id_token) or _account(tokens.access_token)
    return Login(tokens.access_token, account if account and _sendable(account) else "")


def _sendable(value: str | None) -> bool:
    """Whether a value may stand in a header."""
    return value is not None and _VALUE.fullmatch(value) is not None


def _account(token: str | None) -> str | None:
    """The account that a token is for, read off its claims."""
    part = (token or "").split(".")[1:2]
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(part[0] + "==")) if part else {}
        account = claims[_CLAIMS]["chatgpt_account_id"]
    except (ValueError, LookupError, TypeError):
        return None
    return account if isinstance(account, str) else None
