"""Flows that nobody is shown: pages that are polled, and answers that let their reader in.

mitmweb's list and the file of ``-w`` hold on to a flow from its request on. What they are made to
let go of here is answered all the same.
"""

from __future__ import annotations

from typing import Any

from mitmproxy import ctx, exceptions, http

from shim.exchange.values import Reply


def unlisted(flow: http.HTTPFlow) -> None:
    """Take ``flow`` out of mitmweb's list."""
    view: Any = ctx.master.addons.get("view")
    # A view whose filter shows nothing is false.
    if view is not None:
        # The view kills what is alive before it lets go of it; this one is to be answered.
        live, flow.live = flow.live, False
        view.remove([flow])
        flow.live = live


def halt(flow: http.HTTPFlow, reply: Reply | None) -> None:
    """Where ``reply`` is private, the last thing in a hook: no addon behind the chain gets ``flow``
    with it, and none that has got it keeps it."""
    if reply is None or not reply.private:
        return
    unlisted(flow)
    save: Any = ctx.master.addons.get("save")
    if save is not None:
        save.active_flows.discard(flow)
    raise exceptions.AddonHalt
