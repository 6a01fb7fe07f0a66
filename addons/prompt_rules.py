"""Prompt rules: what the policy changes in a prompt, keeps from it or refuses, before routing."""

from __future__ import annotations

import asyncio

import msgspec

from addons.services import Services
from addons.stage import Stage
from shim.client import facts_of
from shim.exchange.replies import failed
from shim.exchange.values import Decision, Edits, Intake, Reply
from shim.policy.inforce import InForce
from shim.prompt.edit import Editors
from shim.prompt.mask import Sessions
from shim.prompt.tools import Tools
from shim.turn import Failure

#: Above this many bytes a prompt is edited beside the event loop, so that streams flow on; dedup
#: looks at every line of a conversation that is new here.
_BIG, _BIG_FOR_DEDUP = 1024 * 1024, 512 * 1024


class PromptRules(Stage):
    writes = frozenset({"turn", "edits"})

    def __init__(self, services: Services) -> None:
        self._policies = services.policies
        self._editors = Editors()
        self._sessions = Sessions()

    @property
    def name(self) -> str:
        return "catch"

    async def request(
        self, intake: Intake, decision: Decision
    ) -> Decision | tuple[Decision, Reply] | None:
        policies = self._policies
        if not policies.decides:
            return None
        told = intake.requested_capabilities.get("include_environment_context")
        project = policies.asks_project or bool(told)
        facts = facts_of(intake.headers, decision.turn, intake.request.owner, project=project)
        decision = decision.with_(edits=Edits(facts))
        policy = policies.for_thread(facts.thread, facts.started)
        return await self._edit(intake, decision, policy) if policy.edits else decision

    async def _edit(
        self, intake: Intake, decision: Decision, policy: InForce
    ) -> Decision | tuple[Decision, Reply]:
        facts, before = decision.facts, decision.turn
        assert facts
        masks = self._sessions.masks(facts.session, policy.finder) if policy.finder else None
        work = (before, policy.catch, facts, masks, policy.policy.dedup)
        if len(before.body) > (_BIG_FOR_DEDUP if policy.policy.dedup else _BIG):
            outcome = await asyncio.to_thread(self._editors.edit, *work)
        else:
            outcome = self._editors.edit(*work)
        if masks and (project := masks.hide(facts.project)) != facts.project:
            # A model may be told of it, by capabilities, which come after all rules.
            facts = msgspec.structs.replace(facts, project=project)
        table: dict[str, str] = {}
        if masks and masks.table:
            table = masks.table
            text = f"{len(table)} secrets masked in this session"
            decision = decision.note("redact", "masked", text)
        for text in outcome.notes:
            decision = decision.note(self.name, "rule", text)
        if outcome.dedup:
            decision = decision.note("dedup", "left_out", outcome.dedup)
        edits = Edits(
            facts,
            tags=frozenset(outcome.tags),
            masks=table,
            saved=outcome.saved,
            saved_first=outcome.saved_anew,
        )
        if outcome.refused:
            rule, message = outcome.refused
            text = f"{message} (refused by the policy's rule {rule}; nothing was sent)"
            failure = Failure(text, 400, "policy_refused", "invalid_request_error")
            return decision.with_(edits=edits), failed(intake, failure)
        turn = outcome.turn
        if policy.policy.tools:
            tools = Tools(turn, policy.policy.tools)
            turn = tools.turn
            edits = msgspec.structs.replace(edits, names=tools.names)
            for text in tools.notes:
                decision = decision.note(self.name, "tools", text)
        edits = msgspec.structs.replace(edits, changed=turn is not before)
        return decision.with_(turn=turn, edits=edits)
