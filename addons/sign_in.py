"""Signing in: a browser shows a client key or a code of `interpose open`, and gets a cookie."""

from __future__ import annotations

import math

import msgspec

from addons.access import Access as Door
from addons.services import Services
from addons.stage import Stage
from shim.exchange.access import PAGES
from shim.exchange.cookies import set_cookie
from shim.exchange.replies import refusal
from shim.exchange.values import Access, ClientRequest, Reply
from shim.live import sign_in
from shim.live.guard import Refused, form_of, same_origin
from shim.live.sign_in import CODE_PARAMETER, FIRST, SIGNED_IN
from shim.turn import Failure

_JSON = {"content-type": "application/json", "cache-control": "no-store"}
_GONE = (
    "This address was good once and for a minute: run interpose open again, or give a client key."
)
_FOLLOWED = "Paste this address into the browser, instead of following a link to it from elsewhere."
_FIRST = "Give one of the chain's client keys."
_WRONG = "That is none of the chain's client keys."


class SignIn(Stage):
    def __init__(self, services: Services, access: Door) -> None:
        self._sign_ins = services.sign_ins
        self._access = access

    def page(self, access: Access) -> Reply | None:
        if access.page not in ("/login", "/api/login-code"):
            return None
        try:
            if access.page == "/api/login-code":
                return self._code(access.request)
            return (self._get if access.request.method == "GET" else self._post)(access)
        except Refused as e:
            return refusal(access.request.path, e.status, str(e))

    def _get(self, access: Access) -> Reply:
        """A code in the address lets in, once; without one there is the form."""
        request, query = access.request, access.request.query
        leads_to = _page(query.get("next", ""))
        code = query.get(CODE_PARAMETER)
        try:
            same_origin(_headers(request))
        except Refused:
            # The browser would not send its cookie to where it is led from another site.
            code = None
            if access.stranger:
                return _form(401, _FOLLOWED if CODE_PARAMETER in query else _FIRST, leads_to)
        owner = self._sign_ins.redeem(code) if code else None
        if not access.stranger:
            return _to(leads_to)
        if owner and owner in self._access.door.owners:
            return self._let_in(request, owner, leads_to)
        return _form(401, _GONE if code else _FIRST, leads_to)

    def _post(self, access: Access) -> Reply:
        """The form: what it holds is compared, and kept nowhere."""
        request = access.request
        fields = form_of(_headers(request), request.body)
        leads_to = _page(fields.get("next", ""))
        if self._access.door.keys is None:
            return _to(leads_to)
        if wait := math.ceil(self._sign_ins.wait(request.peer)):
            said = f"Too many wrong keys came from this address; try again in {wait} s."
            return _form(429, said, leads_to, {"retry-after": str(wait)})
        owner = self._access.door.owner(fields.get("key", "").strip())
        if owner is None:
            self._sign_ins.wrong(request.peer)
            return _form(401, _WRONG, leads_to)
        return self._let_in(request, owner, leads_to)

    def _let_in(self, request: ClientRequest, owner: str, leads_to: str) -> Reply:
        cookie = set_cookie(request, self._sign_ins.begin(owner), SIGNED_IN)
        reply = _to(leads_to)
        headers = {**reply.headers, "set-cookie": cookie}
        return msgspec.structs.replace(reply, headers=headers, private=True)

    def _code(self, request: ClientRequest) -> Reply:
        """The path by which a browser gets to a page, for who has a key or needs none."""
        same_origin(_headers(request))
        try:
            wanted = msgspec.json.decode(request.body, type=_Wanted)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise Refused(400, f'{e}; send {{"page": "{FIRST}"}}') from None
        path = _page(wanted.page)
        if self._access.door.keys is not None:
            code = self._sign_ins.code(request.owner)
            path = f"/login?{CODE_PARAMETER}={code}&next={path}"
        return Reply(200, _JSON, msgspec.json.encode({"path": path}), private=True)


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    page: str = FIRST


def _page(named: str) -> str:
    """The page that somebody wants to see: one of the chain's own, and no other address."""
    known = named != "/login" and named in PAGES and "GET" in PAGES[named].methods
    return named if known else FIRST


def _to(page: str) -> Reply:
    return Reply(303, {"location": page, "cache-control": "no-store"}, b"")


def _form(status: int, said: str, leads_to: str, more: dict[str, str] | None = None) -> Reply:
    body, headers = sign_in.form(said, leads_to)
    return Reply(status, {**headers, **(more or {})}, body, Failure(said, status))


def _headers(request: ClientRequest) -> dict[str, str]:
    """The headers, with the name by which a browser calls the chain."""
    return {**request.headers, "host": request.authority}
