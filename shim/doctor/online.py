"""Whether the policy's providers can be reached, take their keys, and know the models it names.

Of each one GET of its model list, and one POST to the endpoint of turns, which is empty: it is
refused where it arrives and billed nowhere, but tells a wrong path and a key that a public list
does not ask for.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ..client import is_loopback
from ..codex.login import LoginError, uses_login
from ..encodings import Limit, readable
from ..policy.load import MissingVariable
from ..policy.schema import Policy, Provider
from ..record.redact import Redactor
from ..route import choose
from ..route.wayout import way_out
from ..turn import Failure
from ..wire.address import NOWHERE, endpoint
from ..wire.errors import http_failure
from ..wire.paths import PATHS
from .finding import Finding, Section, shown
from .listed import missing, named, names
from .policies import lacking, provider_of

#: Seconds for one provider, and how many are asked at once.
PATIENCE = 8.0
_AT_ONCE = 8
#: Bytes of a model list; one of hundreds of models has half a million.
_LARGEST = 8 << 20
_REFUSED = (401, 403)


class Reached(msgspec.Struct, frozen=True):
    """What became of asking one provider: the status of its model list, or why there is none, and
    the models in it. ``failure`` is what the endpoint of turns says that is no refusal of an empty
    turn; ``broken`` that asking itself failed."""

    name: str
    address: str
    status: int = 0
    why: str = ""
    models: list[str] | None = None
    failure: Failure | None = None
    broken: bool = False


def providers(found: list[Reached], policy: Policy) -> list[Finding]:
    """What it means that they were reached, or not."""
    section = Section("Providers")
    mine = provider_of(policy, policy.default)
    models = named(policy)
    for reached in found:
        _one(section, reached, mine=reached.name == mine)
        _models(section, reached, models.get(reached.name, {}))
    if not found:
        section.ok("the policy names no provider that could be asked")
    return section.found


def _one(section: Section, reached: Reached, *, mine: bool) -> None:
    name = f"{reached.name} ({reached.address})" if reached.address else reached.name
    tell = section.fail if mine else section.warn
    failure = reached.failure
    refused = reached.status if reached.status in _REFUSED else failure.status if failure else 0
    if reached.broken:
        section.fail(
            f"{reached.name} could not be asked: {reached.why}",
            f"correct providers.{reached.name} in the policy",
        )
    elif refused in _REFUSED:
        tell(
            f"{name} refuses the key: status {refused}",
            f"set the key that providers.{reached.name} names anew",
        )
    elif failure:
        tell(failure.message, f"correct base_url or protocol of providers.{reached.name}")
    elif reached.status >= 500:
        tell(f"{name} is not well: status {reached.status}", "wait, or use another")
    elif reached.status:
        more = "" if reached.status == 200 else f", without a model list ({reached.status})"
        section.ok(f"{name} answers{more}")
    else:
        tell(
            f"{name} cannot be reached: {reached.why}",
            "start it, if it is yours; else see the address, the proxies and certificates",
        )


def _models(section: Section, reached: Reached, models: Mapping[str, str]) -> None:
    """Which models of the policy the provider does not list."""
    for model, place in models.items() if reached.models is not None else ():
        end = missing(model, reached.models or ())
        if end is not None:
            section.warn(
                f"{reached.name} does not list the model {model} of {place}{end}",
                f"correct {place}, unless that list is not whole",
            )


async def reach(
    policy: Policy, env: Mapping[str, str], done: Callable[[int, int], None]
) -> list[Reached]:
    """Ask every provider whose key is set; ``done`` gets how many of how many are asked."""
    waits = lacking(policy, env)
    candidates = {n: p for n, p in policy.providers.items() if n not in waits}
    places = asyncio.Semaphore(_AT_ONCE)
    finished = 0

    async def one(name: str, provider: Provider) -> Reached:
        nonlocal finished
        async with places:
            try:
                reached = await _ask(name, provider, env)
            except MissingVariable as e:
                reached = Reached(name, "", why=f"the variable {e.name} is not set", broken=True)
            except (LoginError, ValueError) as e:
                reached = Reached(name, "", why=str(e), broken=True)
            except Exception as e:
                reached = Reached(name, "", why=f"{type(e).__name__}: {e}", broken=True)
        finished += 1
        done(finished, len(candidates))
        return reached

    return list(await asyncio.gather(*(one(n, p) for n, p in candidates.items())))


async def _ask(name: str, provider: Provider, env: Mapping[str, str]) -> Reached:
    import httpx

    own = choose.headers(provider, env)
    clean = Redactor(choose.secrets(provider, own, env)).text
    if provider.protocol == "messages":
        own = {"anthropic-version": "2023-06-01", **own}
    url = _url(provider, "/models", env)
    if provider.protocol == "messages":
        # Its list comes in pages of twenty.
        url += f"{'&' if '?' in url else '?'}limit=1000"
    trust = not is_loopback(urlsplit(url).hostname or "")
    reached = Reached(name, shown(url))
    try:
        async with (
            asyncio.timeout(PATIENCE),
            httpx.AsyncClient(trust_env=trust, timeout=PATIENCE) as client,
        ):
            status, _, raw = await _get(client, "GET", url, own)
            models = names(raw) if status == 200 else None
            reached = msgspec.structs.replace(reached, status=status, models=models)
            if not uses_login(provider) and status < 500 and status not in _REFUSED:
                failure = await _post(client, name, provider, own, env)
                if failure:
                    # An upstream may repeat the keys it got.
                    message = clean(failure.message)
                    failure = msgspec.structs.replace(failure, message=message)
                reached = msgspec.structs.replace(reached, failure=failure)
        return reached
    except TimeoutError:
        why = f"no answer within {PATIENCE:g} s"
    except UnicodeError:
        why = "its key or a header has characters that cannot be sent"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as e:
        why = clean(_why(e))
    if way := way_out(urlsplit(url).scheme, urlsplit(url).hostname or ""):
        why = f"{why}, by way of the proxy {way.host}:{way.port}"
    # The list has come; an empty turn may be of no interest to anybody.
    return reached if reached.status else msgspec.structs.replace(reached, why=why)


def _why(e: BaseException) -> str:
    """What stands behind an error of the client, in the words the chain itself has for it."""
    causes = [e]
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return "its host cannot be found"
        if isinstance(cause, ConnectionRefusedError):
            return "nothing listens there (connection refused)"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        more = cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()
        causes += [c for c in (cause.__cause__, cause.__context__, *more) if c and c not in causes]
    return str(e) or type(e).__name__


def _url(provider: Provider, ending: str, env: Mapping[str, str]) -> str:
    scheme, host, port, path = choose.address(provider, ending, env)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"


async def _get(
    client: Any, method: str, url: str, headers: dict[str, str], content: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) of an answer; of a long body only the beginning."""
    raw = bytearray()
    async with client.stream(method, url, headers=headers, content=content) as answer:
        # Unpacked by httpx, a few bytes could become any number of them.
        async for piece in answer.aiter_raw():
            raw += piece
            if len(raw) > _LARGEST:
                break
    limit = Limit(_LARGEST, "8 MB")
    body, _ = readable(bytes(raw[:_LARGEST]), answer.headers.get("content-encoding", ""), limit)
    return answer.status_code, dict(answer.headers), body


async def _post(
    client: Any, name: str, provider: Provider, own: dict[str, str], env: Mapping[str, str]
) -> Failure | None:
    """What the endpoint of turns says to an empty one, where it is about the path or the key."""
    url = _url(provider, PATHS[provider.protocol], env)
    headers = {**own, "content-type": "application/json"}
    status, head, raw = await _get(client, "POST", url, headers, b"{}")
    if status >= 400 and status not in (*NOWHERE, *_REFUSED):
        return None
    at = endpoint(url, provider.protocol, base_url=provider.base_url)
    failure = http_failure(status, head, raw, name, at)
    about = failure.address or status in _REFUSED or 300 <= status < 400
    return failure if about else None
