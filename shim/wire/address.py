"""The address that a failed request went to: how it is shown, and whether it is the likely cause.

A provider that has nothing there says so in a few general words; one that lacks the model names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from .paths import PATHS, split_path

#: Statuses of an address behind which nothing answers POST.
NOWHERE = frozenset({404, 405})
#: What some write behind base_url that the chain itself adds, or that is none of its endpoints.
_ENDINGS = (*PATHS.values(), "/completions", "/chat", "/models")
_VERSION = re.compile(r"/(?:api/)?v\d+\w*(?:/|$)")
#: A part of a path that looks like a key.
_KEY = re.compile(r"(?:sk|pk|key)-[^/]{8,}|(?=[^/]*\d)(?=[^/]*[A-Za-z])[A-Za-z0-9_]{24,}")
#: In a provider's words: what was asked for is no address of its.
_URL = re.compile(
    r"invalid url|unknown (?:request )?url|unknown_url|url\.not_found|no route|page not found"
    r"|cannot post|(?:path|route|endpoint) .{0,80}not (?:found|allowed|exist)|unexpected endpoint",
    re.I,
)
#: And what is missing is something else: a model, an item of a conversation, a provider's offer.
_THING = re.compile(
    r"\bmodels?\b|\bdeployment\b|\bwith id\b|no endpoints found|no allowed providers", re.I
)


class Endpoint(msgspec.Struct, frozen=True):
    """Where a request was sent. ``url`` is fit to be shown; ``base`` is the path before the
    endpoint; ``whose`` says where that was written: in the policy's base_url, in the client's,
    nowhere."""

    url: str
    protocol: str
    base: str = ""
    model: str = ""
    whose: Literal["policy", "client", ""] = "policy"


def endpoint(
    url: str,
    protocol: str,
    *,
    base_url: str = "",
    model: str = "",
    whose: Literal["policy", "client", ""] = "policy",
) -> Endpoint:
    """The Endpoint of the request that went to ``url``; ``base_url`` as the policy has it."""
    readable = shown(url, base_url)
    base = readable.partition("://")[2].partition("/")[2].rstrip("/")
    base = f"/{base}".removesuffix(PATHS[protocol]).rstrip("/")
    return Endpoint(readable, protocol, base, model, whose)


def shown(url: str, base_url: str = "") -> str:
    """``url`` without what may be secret: user, query, and in its path what looks like a key or
    comes from a variable of ``base_url``."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "an address that cannot be read"
    if not host:
        return "an address without a host"
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    host = f"[{host}]" if ":" in host else host
    at = f"{parts.scheme}://{host}" + (f":{port}" if port and port != usual else "")
    path = parts.path
    # The variable that an address begins with is no key.
    _, _, rest = base_url.rpartition("://")
    written = re.sub(r"^\$\{\w+\}", "", rest) if rest == base_url else rest
    written = written[written.find("/") :] if "/" in written else ""
    if "${" in written:
        base, end = split_path(path)
        path = written.partition("?")[0].rstrip("/") + (end or base[base.rfind("/") :])
    return at + "/".join(_KEY.sub("…", part) for part in path.split("/"))


def lost(message: str, *, page: bool) -> bool:
    """Whether the words of an answer say that nothing is at the address; ``page``: it was HTML."""
    return page or _URL.search(message) is not None


def likely(endpoint: Endpoint, data: Any, message: str, *, page: bool) -> bool:
    """Whether a 404 speaks of the address, and not of a model or another thing that is missing.

    ``data`` is the body's JSON, ``message`` the provider's words in it.
    """
    if lost(message, page=page):
        return True
    error = data.get("error") if isinstance(data, Mapping) else None
    inner = error if isinstance(error, Mapping) else data if isinstance(data, Mapping) else {}
    tags = " ".join(str(inner.get(name) or "") for name in ("code", "type")).lower()
    if "unknown_url" in tags:
        return True
    model = re.escape(endpoint.model)
    named = bool(model) and re.search(rf"(?<![\w/.-]){model}(?![\w-])", message, re.I)
    return not (named or inner.get("param") or "model" in tags or _THING.search(message))


def advice(endpoint: Endpoint) -> str:
    """What to try where the address is the likely cause; empty where it is not the user's."""
    base, protocol = endpoint.base, endpoint.protocol
    if not endpoint.whose:
        return ""
    policy = endpoint.whose == "policy"
    where = "base_url" if policy else "the client's base URL"
    if ending := extra(base):
        return f"{where} ends in {ending}; leave that out"
    if "/deployments/" in base:
        return f"is the deployment that {where} names there?"
    tips = []
    versioned = _VERSION.search(base)
    if not base:
        tips.append(f"does {where} need /v1?")
    elif not versioned and not policy:
        # A host that the client knows better than we do.
        return ""
    elif not versioned:
        tips.append(f"{where} ends in /{base.rpartition('/')[2]}, and most end in /v1.")
    if protocol != "chat":
        option = f"protocol: {protocol}" if policy else f"--set upstream={protocol}"
        at = f"{base if versioned else ''}{PATHS[protocol]}"
        tips.append(f"{option} asks {at}; does this server speak chat?")
    return " ".join(tips) or f"is {where} right, and does this server speak {protocol}?"


def extra(base: str) -> str:
    """The endpoint that the path of a base URL ends in and should not; empty when in none."""
    bare = base.rstrip("/").lower()
    return next((ending for ending in _ENDINGS if bare.endswith(ending)), "")
