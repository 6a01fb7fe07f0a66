"""A running chain, asked over HTTP by the commands that watch it or open a page of it."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from ..daemon.files import Files
from ..daemon.own_key import VARIABLE, bearer, own_key
from . import UserError

_PATIENCE = 5.0


class NoChain(UserError):
    """Nothing at that address answers as a chain does."""


def address(url: str) -> str:
    """``url`` as the others here want it; UserError when it is no address of a chain."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UserError(f"--url must be an http:// or https:// address, is {url}")
    return url.rstrip("/")


def caller() -> Any:
    """An httpx.Client for `asked`."""
    import httpx

    # What is on this machine is reached directly, whatever proxy is set.
    return httpx.Client(trust_env=False, timeout=_PATIENCE)


def asked(client: Any, url: str, method: str, path: str, **more: Any) -> dict[str, Any]:
    """The JSON object that the chain at ``url`` answers to who has the key that is known for it
    here; NoChain for a refusal, and when none answers there."""
    import httpx

    headers = bearer(own_key(url, Files(), os.environ))
    try:
        answer = client.request(method, f"{url}{path}", headers=headers, **more)
        page = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        why = str(e) or type(e).__name__
        raise NoChain(
            f"no chain answers at {url} ({why}); start one with `interpose start` or "
            "`interpose serve`, or name its address with --url"
        ) from None
    except ValueError:
        raise NoChain(f"what answers at {url} is no chain of Interpose") from None
    page = page if isinstance(page, dict) else {}
    if isinstance(told := page.get("error"), dict):
        hint = f"; the variable {VARIABLE} names it" if answer.status_code == 401 else ""
        raise NoChain(f"the chain at {url} refuses: {told.get('message')}{hint}")
    return page
