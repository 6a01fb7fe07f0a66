"""The port and who answers there, the proxies, and the certificates that are trusted."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..live.troubles import troubles
from .finding import Finding, Section, Unread, shown

_LOOPBACK = ("127.0.0.1", "localhost")
_CERTIFICATES = ("SSL_CERT_FILE", "CODEX_CA_CERTIFICATE")


class Answer(msgspec.Struct, frozen=True):
    """What a port of this machine says to ``GET /health``: ``raw`` is the body."""

    port: int
    listens: bool
    raw: bytes = b""


def ports(answers: list[Answer], used: int | None = None) -> list[Finding]:
    """What is at each port: a chain, somebody else, nobody. ``used`` is the one to which Codex
    sends its turns."""
    section = Section("Port")
    for answer in answers:
        where = f"127.0.0.1:{answer.port}"
        says = page(answer.raw)
        if not answer.listens:
            section.ok(f"nothing listens at {where}; `interpose serve --port {answer.port}` can")
        elif _is_state(answer.raw):
            section.warn(
                f"{where} tells no more than its state: a chain that wants a client key, or another"
                " program",
                "`export INTERPOSE_KEY=…` with one of its keys, or end it",
            )
        elif says is None:
            said = f"another program has {where}, not a chain of Interpose"
            if answer.port == used:
                section.fail(
                    f"{said}, and Codex sends its turns there",
                    f"end it, or take another port: `interpose restart --port {answer.port + 1}`",
                )
            else:
                section.warn(said, "end it, or take another port with --port")
        else:
            _chain(section, where, says)
    return section.found


def page(raw: bytes) -> dict[str, Any] | None:
    """What a chain says of itself in ``raw``; None when it is no chain's."""
    try:
        says = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    known = isinstance(says, dict) and "status" in says and isinstance(says.get("recording"), dict)
    return says if known else None


def _is_state(raw: bytes) -> bool:
    """Whether that is all that a chain tells those without a key."""
    return raw in (b'{"status":"ok"}', b'{"status":"degraded"}')


def _chain(section: Section, where: str, says: dict[str, Any]) -> None:
    policy = says.get("policy")
    policy = policy if isinstance(policy, dict) else {}
    section.ok(f"a chain answers at {where}, policy {policy.get('file') or 'none'}")
    for trouble in troubles(says):
        section.warn(f"the chain at {where} {trouble.what}", trouble.step)


def proxies(env: Mapping[str, str], loopback: bool) -> list[Finding]:
    """``loopback`` says that Codex sends its turns to this machine."""
    section = Section("Proxies")
    named = _proxies(env)
    if not named:
        section.ok("no proxy is set")
        return section.found
    for scheme in sorted(named.keys() - {"no"}):
        section.ok(f"{scheme} goes by way of {shown(named[scheme])}")
    # Codex sends to loopback over http.
    if (named.keys() & {"http", "all"}) and (left := _not_exempt(named)):
        said = f"{' and '.join(left)} would be reached by way of that proxy"
        exempt = ",".join([*filter(None, [named.get("no", "")]), *left])
        fix = f"`export NO_PROXY={exempt}`"
        if loopback:
            section.fail(f"{said}: Codex does not reach the chain", fix)
        else:
            section.warn(f"{said}, also a chain that runs here", fix)
    return section.found


def _proxies(env: Mapping[str, str]) -> dict[str, str]:
    """By scheme, small letters first, as every tool reads them."""
    found = {}
    for scheme in ("http", "https", "all", "no"):
        value = env.get(f"{scheme}_proxy") or env.get(f"{scheme.upper()}_PROXY")
        if value and value.strip():
            found[scheme] = value.strip()
    return found


def _not_exempt(named: dict[str, str]) -> list[str]:
    bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]
    return [host for host in _LOOPBACK if not bypass(host, named)]


def certificates(env: Mapping[str, str], read: Callable[[Path], bytes | None]) -> list[Finding]:
    """Whether the files of trusted certificates that are named are there."""
    section = Section("Certificates")
    for name in _CERTIFICATES:
        value = env.get(name)
        if not value:
            continue
        said = _certificate(read, Path(value))
        if said:
            section.fail(
                f"{name} names {value}, which {said}: no TLS connection is trusted",
                f"`unset {name}`, or name a PEM file",
            )
        else:
            section.ok(f"{name} names {value}")
    if not section.found:
        section.ok("the system's own are used")
    return section.found


def _certificate(read: Callable[[Path], bytes | None], path: Path) -> str:
    try:
        raw = read(path)
    except Unread as e:
        return str(e)
    if raw is None:
        return "is not there"
    return "" if b"-----BEGIN" in raw else "holds no certificate in PEM form"
