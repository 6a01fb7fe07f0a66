"""Behind translation: an answer is stored under the id that the client sees."""

from __future__ import annotations

from typing import Any

import msgspec

from addons import legs
from addons.stage import Stage
from addons.state import State
from shim.exchange.replies import JSON, failed
from shim.exchange.rows import route_secrets
from shim.exchange.values import Decision, Intake, Outcome, Reply
from shim.state import compact, expand
from shim.state.conversations import Kept
from shim.turn import Failure
from shim.wire.translate import STREAM


class ResponseStore(Stage):
    def __init__(self, state: State) -> None:
        self._state = state

    def completed(self, intake: Intake, decision: Decision, response: dict[str, Any]) -> None:
        """A streamed answer is whole: it is stored before its end leaves, since the client may go
        on from it at once."""
        if decision.plan and not decision.plan.compacts:
            self._store(intake, decision, response, response.get("output"))

    def response(self, intake: Intake, decision: Decision, outcome: Outcome) -> Outcome | None:
        plan, response = decision.plan, outcome.response
        if plan is None or response is None or outcome.failure:
            return None
        if plan.compacts:
            return self._compact(intake, decision, outcome, response)
        if not (outcome.passage and outcome.passage.streams):
            self._store(intake, decision, response, response.get("output"))
        return None

    async def settle(self, intake: Intake, decision: Decision, outcome: Outcome) -> None:
        self._state.kept.write_soon()

    def _store(
        self, intake: Intake, decision: Decision, response: dict[str, Any], output: object
    ) -> None:
        plan, conversation = decision.plan, decision.conversation
        assert plan and conversation
        if not plan.stores or response.get("status") not in ("completed", "incomplete"):
            return
        id, input, parent = str(response["id"]), conversation.own, conversation.parent
        if id in conversation.ids:
            # An upstream that gives the same id twice: this entry must stand by itself.
            input, parent = conversation.turn.fields["input"], None
        kept = Kept(
            msgspec.json.encode({**response, "output": output}),
            expand.inner(input),
            msgspec.json.encode(output)[1:-1],
            parent=parent,
            compacted=plan.compacts,
        )
        # An upstream may repeat the keys it got, and what a model thought is packed in Base64.
        clean = legs.redactor(intake.secrets | route_secrets(decision)).deep
        self._state.kept.keep(intake.request.owner, id, kept, clean)

    def _compact(
        self, intake: Intake, decision: Decision, outcome: Outcome, response: dict[str, Any]
    ) -> Outcome:
        assert decision.conversation
        item = compact.compaction_item(response)
        if item is None:
            failure = Failure("the model gave no summary", 502, "empty_summary", retry=True)
            reply = failed(intake, failure)
            return outcome.with_(failure=failure, reply=reply, status=reply.status)
        turn, headers = decision.conversation.turn, JSON
        if intake.compacts:
            body = compact.compacted(turn, response, item)
        else:
            body = compact.triggered(response, item, stream=turn.stream)
            headers = {"content-type": STREAM} if turn.stream else JSON
            self._store(intake, decision, response, [item])
        if warning := decision.translation and decision.translation.warning:
            headers = {**headers, "warning": warning}
        return outcome.with_(reply=Reply(200, headers, body), status=200)
