"""A last look at what leaves, by an addon of mitmproxy's own chain: it is there without the script.

When a script is loaded anew and cannot be, mitmproxy goes on without it: what was a chain with
rules is a bare reverse proxy. Whatever no pipeline has let out is refused here.
"""

from __future__ import annotations

from typing import Any

from mitmproxy import ctx, http

from addons.runs import run_of
from shim.exchange.replies import JSON, for_anybody

_MESSAGE = (
    "interpose: the chain is not loaded, so nothing is sent; its log says why (a script that was"
    " edited and cannot be loaded?)"
)


class Guard:
    """Refuses what has no mark of a finished pipeline; ends turns whose runner was unloaded."""

    name = "interpose-guard"

    def request(self, flow: http.HTTPFlow) -> None:
        run = run_of(flow)
        if flow.response or not flow.live or (run and run.sealed):
            return
        flow.response = http.Response.make(500, for_anybody(_MESSAGE, 500), JSON)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        run = run_of(flow)
        if run and run.sealed and not (run.head or run.reply):
            run.owner.responseheaders(flow)

    async def response(self, flow: http.HTTPFlow) -> None:
        run = run_of(flow)
        if run and not run.over:
            await run.owner.response(flow)

    async def error(self, flow: http.HTTPFlow) -> None:
        run = run_of(flow)
        if run and not run.over:
            await run.owner.error(flow)


def install() -> None:
    """Have the guard in mitmproxy's chain, once."""
    addons: Any = ctx.master.addons
    if Guard.name not in addons.lookup:
        addons.add(Guard())
