"""A last look at what leaves, by an addon of mitmproxy's own chain: it is there without the script.

When a script is loaded anew and cannot be, mitmproxy goes on without it: what was a chain with
rules is a bare reverse proxy. Whatever no pipeline has let out is refused here.
"""

from __future__ import annotations

from typing import Any

from mitmproxy import ctx, http

from addons.flow_values import NOWHERE, cleaned, response
from addons.runs import Run, is_admitted, run_of, with_body
from shim.exchange.replies import JSON, for_anybody, refusal
from shim.exchange.values import Reply

_MESSAGE = (
    "interpose: the chain is not loaded, so nothing is sent; its log says why (a script that was"
    " edited and cannot be loaded?)"
)


class Guard:
    """Refuses what has no mark of a finished pipeline; ends turns whose runner was unloaded."""

    name = "interpose-guard"

    def http_connect(self, flow: http.HTTPFlow) -> None:
        if not (flow.response or is_admitted(flow)):
            flow.response = response(_reply(None))

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        if flow.live and run_of(flow) is None:
            # Not even what mitmproxy would stream past every other hook has anywhere to go.
            flow.request.data.host, flow.request.data.port = NOWHERE
            flow.request.stream = False

    def request(self, flow: http.HTTPFlow) -> None:
        run = run_of(flow)
        if flow.response or not flow.live or (run and run.sealed):
            return
        reply = _reply(run)
        if run:
            run.access, run.reply = with_body(run.access, flow.request), reply
        # Nobody behind this one cleans what may be saved.
        cleaned(flow.request)
        flow.request.raw_content = b""
        flow.response = response(reply)

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


def _reply(run: Run | None) -> Reply:
    if run:
        return refusal(run.access.request.path, 500, _MESSAGE)
    return Reply(500, JSON, for_anybody(_MESSAGE, 500))


def install() -> bool:
    """Have the guard in mitmproxy's chain: right behind the scripts, before what saves. Whether it
    was there, since the script was loaded before."""
    addons: Any = ctx.master.addons
    if Guard.name in addons.lookup:
        return True
    scripts = addons.get("scriptloader")
    at = addons.chain.index(scripts) + 1 if scripts in addons.chain else len(addons.chain)
    addons.chain.insert(at, addons.register(Guard()))
    return False
