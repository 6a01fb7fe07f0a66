"""mitmweb's list of flows is kept short: it holds each flow in memory for as long as it runs.

mitmdump has no such list, and nothing happens there. Flows read from a file stay: they come without
traffic. What is on disk is nobody's business here.
"""

from __future__ import annotations

from typing import Any

from mitmproxy import ctx, flow, http

from addons.fatal import fatal
from addons.flowfile import row_of
from addons.services import Services
from addons.unseen import unlisted
from shim.exchange.values import Access
from shim.record import summary

#: Pages that tell of the chain; a program asks for them every few seconds.
_WATCHED = ("/health", "/health/live", "/health/ready", "/dashboard", "/metrics")
#: What they answer when all is as it should be, or a chain is not ready.
_TOLD = (200, 503)


class Trim:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._keep = 0

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "view_keep", int, 500, "Finished flows that mitmweb's list keeps; 0: all of them."
        )

    def configure(self, updated: set[str]) -> None:
        # Reading an option costs a copy of its value: not something to do per request.
        self._keep = ctx.options.view_keep
        if self._keep < 0:
            fatal(f"view_keep must be 0 or more, is {self._keep}", running=self._services.running)

    def viewed(self, flow: http.HTTPFlow, access: Access | None) -> None:
        view: Any = ctx.master.addons.get("view")
        # A view whose filter shows nothing is false.
        if view is None or not flow.live:
            return
        if access and access.page in _WATCHED and flow.response:
            if flow.response.status_code in _TOLD:
                unlisted(flow)
            return
        if not self._keep or view.store_count() <= self._keep:
            return
        ended = [one for one in view.resolve("@all") if _has_ended(one)]
        # This one is about to end.
        over = len(ended) + bool(view.get_by_id(flow.id)) - self._keep
        for one in ended:
            if over <= 0:
                break
            if _by_the_chain(one):
                # One by one: several at once would be told of in mitmweb's log.
                view.remove([one])
                over -= 1


def _has_ended(one: flow.Flow) -> bool:
    """Whether it has, and bears no mark that only a user gives."""
    # A leg without an answer has the chain's comment; what a user has yet to send has nothing.
    answered = one.error or getattr(one, "response", True) or one.comment
    ours = not one.marked or one.marked in summary.SIGNS
    return bool(answered and ours and not one.live and not one.intercepted)


def _by_the_chain(one: flow.Flow) -> bool:
    return not one.marked or one.marked == summary.mark(row_of(one))
