"""The chain's own answers: health, metrics, dashboard, and the models in each client's form."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from mitmproxy import ctx

from addons.redaction import hider
from addons.runs import OpenTurn, open_turns
from addons.services import Services
from addons.stage import Stage
from shim.codex import catalog
from shim.exchange.access import asks_catalog
from shim.exchange.replies import JSON, refusal
from shim.exchange.rows import conversation
from shim.exchange.values import Access, ClientRequest, Reply
from shim.live import dashboard
from shim.live.sums import about, said, session_name, short
from shim.policy.schema import Model, Policy
from shim.policy.warn import lacking, unset

#: Turns under way that a page names; their number is told in full.
_MOST_SHOWN = 100

_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Pages(Stage):
    def __init__(self, services: Services) -> None:
        self._services = services

    async def page(self, access: Access) -> Reply | None:
        request, query = access.request, access.request.query
        if access.page == "/health/live":
            return _json({"status": "ok"})
        if access.page == "/health/ready":
            return self._ready()
        if access.page == "/health" and access.stranger:
            return _json({"status": "degraded" if self._problems() else "ok"})
        if access.page == "/health":
            exchanges = "exchanges" in query
            if exchanges and (settle := self._services.recording.settle):
                await settle()
            page = self._health(exchanges)
            if exchanges or "live" in query:
                page |= self._live(page, query.get("session", ""))
            return _json(page)
        if access.page == "/dashboard":
            page = self._health(False)
            page |= self._live(page, query.get("session", ""))
            body, headers = dashboard.render(page)
            return Reply(200, headers, body)
        if access.page == "/metrics":
            return Reply(200, {"content-type": _METRICS}, self._metrics().encode())
        return await self._models(request) if access.kind == "models" else None

    def _ready(self) -> Reply:
        hindered = [word for tells in self._services.hindrances if (word := tells())]
        if not hindered:
            return _json({"status": "ready"})
        return _json({"status": "not ready", "because": hindered}, status=503)

    def _metrics(self) -> str:
        services = self._services
        return services.metrics.text(open=len(open_turns()), recording=not services.recording.error)

    def _health(self, exchanges: bool) -> dict[str, object]:
        services = self._services
        policies, recording = services.policies, services.recording
        policy, keys = policies.current(), services.client_keys
        page: dict[str, object] = {
            "status": "degraded" if self._problems() else "ok",
            "policy": {
                "file": str(policies.path) if policies.path else None,
                "error": policies.error,
                "warnings": [text for _, text in unset(policy)],
                "unset": lacking(policy),
                "models": sorted(catalog.models_of(policy)),
                "default": services.default(policy) or policy.default,
            },
            "recording": {"file": recording.file, "error": recording.error},
        }
        if keys.error:
            page["client_keys"] = {"error": keys.error}
        if services.metrics.duplicates:
            page["duplicates"] = services.metrics.duplicates
        if services.metrics.repairs:
            page["repairs"] = services.metrics.repairs
        if unwell := services.breakers.page():
            page["providers"] = unwell
        if exchanges:
            page |= {"exchanges": list(services.rows), "flow_file": recording.file}
        return page

    def _problems(self) -> bool:
        services = self._services
        # It reads an edited policy.
        services.policies.current()
        return any((services.policies.error, services.recording.error, services.client_keys.error))

    def _live(self, page: dict[str, object], session: str) -> dict[str, object]:
        now = time.time()
        turns = [self._under_way(run, now) for run in open_turns() if not run.intake.counts]
        turns.sort(key=lambda row: -row["seconds"])
        says = about(page, records=bool(ctx.options.record_dir))
        live = self._services.live.page(len(turns), says, session)
        live["said"] = said(page, live["totals"]["errors"])
        return {"under_way": turns[:_MOST_SHOWN], "live": live}

    def _under_way(self, run: OpenTurn, now: float) -> dict[str, Any]:
        """A turn that has not ended: who, where and how long, nothing of what it says."""
        intake, route = run.intake, run.decision.route
        policy = self._services.policies.in_force()
        hide = hider(intake.secrets, run.decision, policy, "logged").text
        session, thread, _ = conversation(intake, run.decision)
        return {
            "exchange": intake.request.id,
            "session": session_name(thread, session, hide),
            "model": short(hide(intake.turn.model or "(no model)")),
            "route": short(hide(f"{route.provider}/{route.model}")) if route else None,
            "state": "streaming" if run.first_byte else "waiting",
            "seconds": round(max(0.0, now - intake.request.started), 1),
        }

    async def _models(self, request: ClientRequest) -> Reply | None:
        policy = self._services.policies.current()
        codex = asks_catalog(request)
        if policy.empty:
            if not codex:
                return None
            message = "no policy, so no model list; models pass by their own names"
            return refusal(request.path, 404, message)
        # A model that was chosen or switched to may stand in no list.
        chosen = self._services.default(policy)
        if codex:
            models = catalog.catalog(policy, [chosen] if chosen else [])
            return _json(models, {"etag": catalog.etag(models)})
        return _json(_openai_list(policy, await self._services.engines.offers(), chosen))


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


def _json(page: object, headers: dict[str, str] | None = None, status: int = 200) -> Reply:
    return Reply(status, {**JSON, **(headers or {})}, msgspec.json.encode(page))
