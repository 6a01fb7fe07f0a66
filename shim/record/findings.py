"""What a recording that is shared may not hold: keys, home folders, e-mail addresses, machines.

Patterns only; `pseudonyms` says what stands in their place. Separators may be written as JSON, URLs
or Windows write them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal
from urllib.parse import unquote

import msgspec

from ..policy.rules import RedactRule
from ..prompt.secrets import Finder
from . import hidden, machines

#: A user's name that tells nothing of anybody.
USER = "user"
_TELLS_NOTHING = frozenset({USER, "Shared", "Public", "Default", "runner"})
#: Where a word begins, also behind an escape such as \\n in the text of a call's arguments.
START = r"(?:(?<=\\[nrtbf])|(?<![A-Za-z0-9]))"
_SEP = r"(?:/|\\{1,8}/?|%2[Ff]|%5[Cc])"
HOME = re.compile(rf"({_SEP}(?:home|Users){_SEP})([A-Za-z0-9_](?:[\w.-]*\w)?)", re.I)
#: The same at the beginning of a path: there the name is a user's for certain.
WHOSE_HOME = re.compile(rf"(?<![\w.~-]){HOME.pattern}", re.I)
#: Temporary folders: what stands behind is made up anew every time.
TEMPORARY = re.compile(rf"({_SEP}tmp{_SEP})([\w.-]+)")
MAC_TEMPORARY = re.compile(rf"({_SEP}var{_SEP}folders{_SEP})([\w+]+{_SEP}[\w+]+)")
EMAIL = re.compile(
    r"(?:(?<=\\[nrtbf])|(?<![A-Za-z0-9._%+\\-])|(?<=\\)(?![nrtbfu]))"
    r"[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}\b"
)
UUID = re.compile(
    START + r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"
)
#: The ids that providers give, by how they begin; what is personal is the rest.
ID = re.compile(
    START + r"(?:acct|asst|batch|call|chatcmpl|ctc|fc|file|gen|msg|org|proj|req|resp|rs"
    r"|run|sess|session|srvtoolu|thread|toolu|user)[-_]"
    r"((?=[A-Za-z_]*\d)[A-Za-z0-9]{10,})"
)
URL_HOST = re.compile(r"(?<=://)(?:[^/\s\"'@\\]*@)?(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::\d+)?")
PRIVATE_ADDRESS = re.compile(
    r"(?<![\d.])(?:10(?:\.\d{1,3}){3}|192\.168(?:\.\d{1,3}){2}|169\.254(?:\.\d{1,3}){2}"
    r"|172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2})(?![\d.])"
)
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
#: A word in which URLs have escapes.
QUOTED = re.compile(r"[^\s\"'<>\\]*%[0-9A-Fa-f]{2}[^\s\"'<>\\]*")
#: Users of e-mail addresses that are nobody's, and the hosts of those that are made up (RFC 2606).
_PROGRAMS = frozenset({"git", "noreply", "no-reply"})
_EXAMPLES = frozenset({"example", "example.com", "example.net", "example.org"})
#: Hosts that everybody knows; all names under them, too.
_KNOWN = (
    "localhost",
    "anthropic.com",
    "apache.org",
    "bitbucket.org",
    "chatgpt.com",
    "claude.ai",
    "claude.com",
    "cloudflare.com",
    "cohere.com",
    "crates.io",
    "creativecommons.org",
    "debian.org",
    "deepseek.com",
    "djangoproject.com",
    "docker.com",
    "docker.io",
    "example",
    "example.com",
    "example.net",
    "example.org",
    "freedesktop.org",
    "github.com",
    "githubusercontent.com",
    "gitlab.com",
    "gnu.org",
    "go.dev",
    "golang.org",
    "google.com",
    "googleapis.com",
    "groq.com",
    "huggingface.co",
    "iana.org",
    "ietf.org",
    "jetbrains.com",
    "jsdelivr.net",
    "json-schema.org",
    "k8s.io",
    "kernel.org",
    "kubernetes.io",
    "maven.org",
    "microsoft.com",
    "mistral.ai",
    "mitmproxy.org",
    "mozilla.org",
    "nodejs.org",
    "npmjs.com",
    "npmjs.org",
    "openai.com",
    "openrouter.ai",
    "opensource.org",
    "php.net",
    "postgresql.org",
    "pydantic.dev",
    "pypi.org",
    "python.org",
    "pythonhosted.org",
    "readthedocs.io",
    "readthedocs.org",
    "rfc-editor.org",
    "rust-lang.org",
    "schema.org",
    "sourceforge.net",
    "spdx.org",
    "sqlite.org",
    "stackoverflow.com",
    "ubuntu.com",
    "unicode.org",
    "unpkg.com",
    "w3.org",
    "whatwg.org",
    "wikipedia.org",
    "x.ai",
    "yaml.org",
)
_LOOPBACK = re.compile(r"127(?:\.\d{1,3}){3}|0\.0\.0\.0|\[?::1\]?")
#: Documentation addresses (RFC 5737), from which pseudonyms are made.
_DOCUMENTATION = re.compile(r"192\.0\.2\.\d{1,3}")

_SETS: tuple[Literal["api-keys", "private-keys", "credentials", "cards"], ...]
_SETS = ("api-keys", "private-keys", "credentials", "cards")


class Finding(msgspec.Struct, frozen=True):
    """Something in a text that may not be there."""

    kind: str
    start: int
    end: int


@lru_cache(maxsize=1)
def _finder() -> Finder:
    return Finder([RedactRule("key", use=use) for use in _SETS])


def keys(text: str) -> list[Finding]:
    """The keys in ``text``, from left to right, none inside another."""
    return [Finding("key", start, end) for start, end, _ in _finder().find(text)]


def findings(text: str, *, whole: bool = True) -> list[Finding]:
    """Everything in ``text`` that must not be shared; ids are no more than a nuisance. In one that
    is not ``whole`` words are cut, which then look like names of hosts."""
    found = keys(text)
    found += [Finding("home folder", *m.span()) for m in HOME.finditer(text) if tells_a_name(m[2])]
    found += [
        Finding("e-mail address", *m.span()) for m in EMAIL.finditer(text) if not is_nobodys(m[0])
    ]
    found += [Finding("private address", *m.span()) for m in PRIVATE_ADDRESS.finditer(text)]
    if whole:
        found += [Finding("host name", *m.span(1)) for m in host_names(text)]
        found += [Finding("public address", *m.span(1)) for m in machines.addresses(text)]
    return found


def host_names(text: str) -> Iterator[re.Match[str]]:
    """Where hosts that not everybody knows stand in ``text`` by name; group 1."""
    return (m for m in machines.names(text) if not is_known_host(m[1]))


def cleared(text: str) -> str:
    """``text`` without keys in its Base64, whatever else this says, and with pictures that tell
    nothing besides what they show."""
    data = text.encode("utf-8", "surrogatepass")
    made = hidden.in_base64(hidden.pictures(data), _fill)
    return text if made == data else made.decode("utf-8", "surrogatepass")


def hides(text: str) -> Iterator[str]:
    """What hides in ``text`` where no search of it looks."""
    data = text.encode("utf-8", "surrogatepass")
    if hidden.pictures(data) != data:
        yield "what a picture tells besides what it shows"
    if hidden.in_base64(data, _fill) != data:
        yield "a key in Base64"


def _fill(data: bytes) -> bytes:
    return hidden.in_base64(_stars(data), _stars)


def _stars(data: bytes) -> bytes:
    return hidden.starred(data, lambda d: [(a, b) for a, b, _ in _finder().find_bytes(d)])


def tells_a_name(name: str) -> bool:
    """Whether a folder under /home is somebody's."""
    return name not in _TELLS_NOTHING


def is_nobodys(address: str) -> bool:
    """Whether an e-mail address is made up, or a program's."""
    user, _, host = address.lower().rpartition("@")
    return user in _PROGRAMS or re.sub(r".*\bexample\b", "example", host) in _EXAMPLES


def is_known_host(host: str) -> bool:
    """Whether a host's name says nothing about whose recording it is in."""
    host = host.lower().strip(".")
    if _LOOPBACK.fullmatch(host) or _DOCUMENTATION.fullmatch(host):
        return True
    return any(host == known or host.endswith("." + known) for known in _KNOWN)


def forms(text: str) -> Iterator[str]:
    """``text`` in the forms in which it may hide something: as it stands, without escapes that it
    does not need, as a URL, in Base64."""
    yield text
    data = text.encode("utf-8", "surrogatepass")
    if (bare := hidden.unescaped(data)) != data:
        yield bare.decode("utf-8", "surrogatepass")
    if "%" in text:
        yield unquote(text)
    for match in BASE64.finditer(text):
        if (inside := decoded(match[0])) is not None:
            yield inside


def decoded(text: str) -> str | None:
    """What Base64 says, where that is text."""
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    try:
        raw = base64.b64decode(padded.translate(_URL_SAFE), validate=True)
        inside = raw.decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return inside if inside.isprintable() or "\n" in inside else None


_URL_SAFE = str.maketrans("-_", "+/")
