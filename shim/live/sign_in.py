"""How a browser signs in: a form for a client key, a code that is good once, and what came of them.

A browser that has shown a key holds a random token in a cookie, never the key. Who has signed in is
known to this process only, and forgotten when the key is taken back.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from functools import cache
from hashlib import sha256
from html import escape
from ipaddress import ip_address, ip_network
from pathlib import Path
from string import Template
from typing import NamedTuple

from .headers import page_headers

#: Seconds for which a browser stays signed in, and for which a code is good.
SIGNED_IN, CODE = 12 * 3600, 60
#: The query parameter with a code: what shows or writes a path leaves out what has such a name.
CODE_PARAMETER = "token"
#: Where a browser goes that names no page.
FIRST = "/dashboard"
_MOST = 1000
#: Wrong keys from one address that cost no time; from then on each doubles the wait, in seconds.
_FREE, _LONGEST_WAIT = 5, 300.0
#: Seconds after which an address is forgotten, and how many are remembered.
_FORGET, _MOST_ADDRESSES = 900.0, 10_000
_HERE = Path(__file__).parent


class _Entry(NamedTuple):
    digest: bytes
    owner: str
    until: float


class _Tokens:
    """Random tokens and whose they are: NAME.SECRET, found by the one, compared by the other."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def new(self, owner: str) -> str:
        name, secret = secrets.token_urlsafe(9), secrets.token_urlsafe(32)
        self._entries[name] = _Entry(_digest(secret), owner, self._clock() + self._seconds)
        while len(self._entries) > _MOST:
            self._entries.popitem(last=False)
        return f"{name}.{secret}"

    def owner(self, token: str, *, once: bool = False) -> str | None:
        name, _, secret = token.partition(".")
        entry = self._entries.get(name)
        if entry is None or not hmac.compare_digest(entry.digest, _digest(secret)):
            return None
        if once or entry.until <= self._clock():
            del self._entries[name]
        return entry.owner if entry.until > self._clock() else None

    def keep(self, owners: Collection[str]) -> None:
        now = self._clock()
        kept = ((n, e) for n, e in self._entries.items() if e.owner in owners and e.until > now)
        self._entries = OrderedDict(kept)


class SignIns:
    """Who has signed in. Times are in seconds of ``clock``, owners digests of keys."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._browsers = _Tokens(SIGNED_IN, clock)
        self._codes = _Tokens(CODE, clock)
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def begin(self, owner: str) -> str:
        """The token of a browser that has shown the key of ``owner``."""
        return self._browsers.new(owner)

    def owner(self, token: str) -> str | None:
        """Whose key a browser has shown; None when it has not, or too long ago."""
        return self._browsers.owner(token)

    def code(self, owner: str) -> str:
        """A code for the address of a page, good once and for a minute."""
        return self._codes.new(owner)

    def redeem(self, code: str) -> str | None:
        """Whose code that is; it is used up now."""
        return self._codes.owner(code, once=True)

    def keep(self, owners: Collection[str]) -> None:
        """Sign out everybody whose key is not one of these ``owners``' any more."""
        self._browsers.keep(owners)
        self._codes.keep(owners)

    def wait(self, address: str) -> float:
        """Seconds until a key from there is looked at again; 0: it is now."""
        count, at = self._wrong.get(_place(address), (0, 0.0))
        if count < _FREE:
            return 0.0
        wait: float = min(_LONGEST_WAIT, 2.0 ** min(count - _FREE + 1, 16))
        # A clock may be set back.
        return max(0.0, min(wait, at + wait - self._clock()))

    def wrong(self, address: str) -> None:
        """A key from there was wrong."""
        place, now = _place(address), self._clock()
        count, at = self._wrong.pop(place, (0, now))
        self._wrong[place] = (count + 1 if now - at < _FORGET else 1, now)
        if len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)


def form(said: str, leads_to: str) -> tuple[bytes, dict[str, str]]:
    """The form as HTML, and its headers: a sentence, and the page that follows."""
    template, style, headers = _shell()
    html = template.substitute(
        style=style, said=escape(said), next=escape(leads_to), hours=SIGNED_IN // 3600
    )
    return html.encode("utf-8", "replace"), headers


@cache
def _shell() -> tuple[Template, str, dict[str, str]]:
    style = (_HERE / "dashboard.css").read_text("utf-8")
    return Template((_HERE / "sign_in.html").read_text("utf-8")), style, page_headers(style)


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "replace")).digest()


def _place(address: str) -> str:
    """What counts as one address: whoever has one of IPv6 has a whole network of them."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network(f"{parsed}/64", strict=False)) if parsed.version == 6 else address
