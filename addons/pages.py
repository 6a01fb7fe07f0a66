"""The chain's own answers: health, metrics, dashboard, and the models in each client's form."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from mitmproxy import ctx, http

from addons.exchange import PAGE, Chain, Exchange, is_ours, refuse, tail, under_way
from addons.gate import asks_catalog
from shim.codex import catalog
from shim.live import dashboard
from shim.live.sums import about, said, session_name, short
from shim.policy.schema import Model, Policy
from shim.policy.warn import lacking, unset
from shim.record.redact import redactor

#: Turns under way that a page names; their number is told in full.
_MOST_SHOWN = 100
#: Pages that tell of the chain; a program asks for them every few seconds.
_WATCHED = ("/health", "/dashboard", "/metrics")

_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Pages:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    async def request(self, flow: http.HTTPFlow) -> None:
        if flow.response or not is_ours(flow):
            return
        what = flow.metadata.get(PAGE)
        if what == "/health":
            exchanges = "exchanges" in flow.request.query
            if exchanges and self._chain.settle:
                await self._chain.settle()
            page = self._health(exchanges)
            if exchanges or "live" in flow.request.query:
                page |= self._live(page, flow.request.query.get("session", ""))
            _json(flow, page)
        elif what == "/dashboard":
            page = self._health(False)
            page |= self._live(page, flow.request.query.get("session", ""))
            body, headers = dashboard.render(page)
            flow.response = http.Response.make(200, body, headers)
        elif what == "/metrics":
            flow.response = http.Response.make(200, self._metrics(), {"content-type": _METRICS})
        elif not what and tail(flow.request.path) == "models":
            await self._models(flow)

    def response(self, flow: http.HTTPFlow) -> None:
        """Take what is asked for again and again out of mitmweb, which would keep each."""
        view = ctx.master.addons.get("view")
        if view is not None and _is_watched(flow):
            # The view kills what is alive before it lets go of it; this one is to be answered.
            alive, flow.live = flow.live, False
            view.remove([flow])
            flow.live = alive

    def _metrics(self) -> str:
        chain = self._chain
        return chain.metrics.text(
            duplicates=chain.duplicates,
            open=len(under_way()),
            recording=not chain.recording_error,
        )

    def _health(self, exchanges: bool) -> dict[str, object]:
        chain = self._chain
        policy = chain.policies.current()
        problems = [p for p in (chain.policies.error, chain.recording_error) if p]
        page: dict[str, object] = {
            "status": "degraded" if problems else "ok",
            "policy": {
                "file": str(chain.policies.path) if chain.policies.path else None,
                "error": chain.policies.error,
                "warnings": [said for _, said in unset(policy)],
                "unset": lacking(policy),
                "models": sorted(catalog.models_of(policy)),
                "default": chain.default(policy) or policy.default,
            },
            "recording": {"file": chain.flow_file, "error": chain.recording_error},
        }
        if chain.duplicates:
            page["duplicates"] = chain.duplicates
        if chain.repairs:
            page["repairs"] = chain.repairs
        if unwell := chain.breakers.page():
            page["providers"] = unwell
        if exchanges:
            page |= {"exchanges": chain.rows, "flow_file": chain.flow_file}
        return page

    def _live(self, page: dict[str, object], session: str) -> dict[str, object]:
        now = time.time()
        found = [_under_way(flow.id, e, now) for flow, e in under_way() if not e.counts]
        found.sort(key=lambda row: -row["seconds"])
        says = about(page, records=bool(ctx.options.record_dir))
        live = self._chain.live.page(len(found), says, session)
        live["said"] = said(page, live["totals"]["errors"])
        return {"under_way": found[:_MOST_SHOWN], "live": live}

    async def _models(self, flow: http.HTTPFlow) -> None:
        policy = self._chain.policies.current()
        codex = asks_catalog(flow.request)
        if policy.empty:
            if codex:
                refuse(flow, 404, "no policy, so no model list; models pass by their own names")
            return
        # A model that was chosen or switched to may stand in no list.
        chosen = self._chain.default(policy)
        if codex:
            found = catalog.catalog(policy, [chosen] if chosen else [])
            _json(flow, found, {"etag": catalog.etag(found)})
        else:
            offers = await self._chain.engines.offers()
            _json(flow, _openai_list(policy, offers, chosen))


def _is_watched(flow: http.HTTPFlow) -> bool:
    ours = is_ours(flow) and not flow.is_replay
    good = ours and flow.request.method == "GET" and flow.response
    return bool(good and good.status_code == 200 and flow.metadata.get(PAGE) in _WATCHED)


def _under_way(id: str, exchange: Exchange, now: float) -> dict[str, Any]:
    """A turn that has not ended: who, where and how long, nothing of what it says."""
    route, hide = exchange.route, redactor(frozenset(exchange.secrets)).text
    session, thread, _ = exchange.conversation
    return {
        "exchange": id,
        "session": session_name(thread, session, hide),
        "model": short(hide(exchange.asked.model or "(no model)")),
        "route": short(hide(f"{route.provider}/{route.model}")) if route else None,
        "state": "streaming" if exchange.first_byte else "waiting",
        "seconds": round(max(0.0, now - exchange.started), 1),
    }


def _openai_list(
    policy: Policy, agents: dict[str, list[str] | None], chosen: str | None
) -> dict[str, object]:
    """One list for both official SDKs: each reads its own fields. Agents that cannot be used now
    are left out; by its name alone one is asked without choosing its model. The model ``chosen``
    to answer for unknown names comes first."""
    models = {
        n: m for n, m in catalog.models_of(policy).items() if agents.get(m.provider, ()) is not None
    }
    for name, offered in agents.items():
        if offered is not None:
            also = (name, *(f"{name}:{model}" for model in offered))
            models |= {n: Model(provider=name) for n in also if n not in models}
    if chosen:
        known = models.get(chosen) or Model(provider=chosen.partition(":")[0])
        models = {chosen: known} | models
    data = [
        {
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": model.provider,
            "type": "model",
            "display_name": name,
            "created_at": "1970-01-01T00:00:00Z",
        }
        for name, model in models.items()
    ]
    names: list[str | None] = [*models] or [None]
    ends = {"has_more": False, "first_id": names[0], "last_id": names[-1]}
    return {"object": "list", "data": data, **ends}


def _json(flow: http.HTTPFlow, page: object, headers: dict[str, str] | None = None) -> None:
    flow.response = http.Response.make(
        200, msgspec.json.encode(page), {"content-type": "application/json", **(headers or {})}
    )
