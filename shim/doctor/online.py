"""Whether the policy's providers can be reached and take their keys: one GET of each model list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import msgspec

from ..client import is_loopback
from ..policy.schema import Policy, Provider
from ..route import choose
from .finding import Finding, Section, shown
from .policies import default_provider, keyless

#: Seconds for one provider, and how many are asked at once.
PATIENCE = 8.0
_AT_ONCE = 8


class Reached(msgspec.Struct, frozen=True):
    """What became of asking one provider: its status, or why there is none."""

    name: str
    address: str
    status: int = 0
    why: str = ""


def providers(found: list[Reached], policy: Policy) -> list[Finding]:
    """What it means that they were reached, or not."""
    section = Section("Providers")
    mine = default_provider(policy)
    for reached in found:
        name = f"{reached.name} ({reached.address})"
        tell = section.fail if reached.name == mine else section.warn
        if reached.status in (401, 403):
            tell(
                f"{name} refuses the key: status {reached.status}",
                f"set the key that providers.{reached.name} names anew",
            )
        elif reached.status >= 500:
            tell(f"{name} is not well: status {reached.status}", "wait, or use another")
        elif reached.status:
            said = "" if reached.status == 200 else f", without a model list ({reached.status})"
            section.ok(f"{name} answers{said}")
        else:
            tell(
                f"{name} cannot be reached: {reached.why}",
                "start it, if it is yours; else see the address, the proxies and certificates",
            )
    if not found:
        section.ok("the policy names no provider that could be asked")
    return section.found


async def reach(
    policy: Policy, env: Mapping[str, str], done: Callable[[int, int], None]
) -> list[Reached]:
    """Ask every provider whose key is set; ``done`` gets how many of how many are asked."""
    lacking = keyless(policy, env)
    wanted = {n: p for n, p in policy.providers.items() if n not in lacking}
    places = asyncio.Semaphore(_AT_ONCE)
    finished = 0

    async def one(name: str, provider: Provider) -> Reached:
        nonlocal finished
        async with places:
            found = await _ask(name, provider, env)
        finished += 1
        done(finished, len(wanted))
        return found

    return list(await asyncio.gather(*(one(n, p) for n, p in wanted.items())))


async def _ask(name: str, provider: Provider, env: Mapping[str, str]) -> Reached:
    import httpx

    scheme, host, port, path = choose.address(provider, "/models")
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"
    address = shown(url)
    try:
        async with asyncio.timeout(PATIENCE):
            async with httpx.AsyncClient(
                trust_env=not is_loopback(urlsplit(url).hostname or ""), timeout=PATIENCE
            ) as client:
                # The body may be of any length, and is of no interest.
                async with client.stream(
                    "GET", url, headers=choose.headers(provider, env)
                ) as answer:
                    return Reached(name, address, answer.status_code)
    except TimeoutError:
        why = f"no answer within {PATIENCE:g} s"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as e:
        why = str(e) or type(e).__name__
    return Reached(name, address, why=why)
