"""Who may change something by a page: the page itself, told by its token and by where it is.

A page of another site can make a browser send anything here, but cannot read the token, and the
browser names that site. The token is made anew by each process, so it is nowhere but in its page.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

HEADER = "x-interpose-token"
FORM = "application/x-www-form-urlencoded"
#: Bytes of a body that says what to do; what is longer says something else.
LONGEST = 16_384


class Refused(Exception):
    """Why a request changes nothing: the status, a sentence; ``page``: a browser's own page sent
    it, and may be shown again."""

    def __init__(self, status: int, message: str, page: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.page = page


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """What is asked for: a model, and whether Codex Desktop is started anew."""

    model: str
    restart: bool = False


class Guard:
    """The guard of one process."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(32)

    def take(self, headers: Mapping[str, str], body: bytes) -> tuple[Wanted, bool]:
        """What a POST asks for, and whether it came by the page's form. Refused when it may not."""
        same_origin(headers)
        kind = _kind(headers)
        if kind not in (FORM, "application/json"):
            raise Refused(415, f"send application/json, or a form ({FORM})")
        _bounded(body)
        form = kind == FORM
        given = headers.get(HEADER, "")
        fields = _fields(body) if form else {}
        given = fields.pop("token", "") or given
        if not hmac.compare_digest(_bytes(given), _bytes(self.token)):
            raise Refused(403, _FOREIGN if given else _NONE, form)
        try:
            if form:
                return msgspec.convert(fields, Wanted, strict=False), True
            return msgspec.json.decode(body, type=Wanted), False
        except msgspec.MsgspecError as e:
            said = f'{e}; send {{"model": "NAME"}}, and "restart": true if you like'
            raise Refused(400, said, form) from None


_NONE = f"send the token that stands in /picker, in the header {HEADER} or the field token"
_FOREIGN = "the page is of a chain that has ended; look at this one, and choose again"


def form_of(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """The fields of a form that one of the chain's own pages has sent. Refused when it has not."""
    same_origin(headers)
    if _kind(headers) != FORM:
        raise Refused(415, f"send a form ({FORM})")
    _bounded(body)
    return _fields(body)


def same_origin(headers: Mapping[str, str]) -> None:
    """Refused for a request that a page of another site has a browser send. ``host`` is the name
    by which the browser calls the chain."""
    origin, host = headers.get("origin"), headers.get("host", "").lower()
    if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
        raise Refused(403, "only the chain's own page may do that, no page of another site")
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, "only the chain's own page may do that, no page of another site")


def _kind(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _bounded(body: bytes) -> None:
    if len(body) > LONGEST:
        raise Refused(413, f"the body is longer than {LONGEST} bytes")


def _fields(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:  # a UnicodeDecodeError is one, too
        raise Refused(400, "the form cannot be read") from None
    return dict(pairs)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
