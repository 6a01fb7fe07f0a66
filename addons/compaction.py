"""What a turn's state means for its upstream: compaction, what is stored, ids nobody knows.

An upstream that speaks Responses has state of its own: its turns pass, except that a conversation
which was stored here goes along in full.
"""

from __future__ import annotations

from addons.stage import Stage
from shim.exchange.replies import failed_field
from shim.exchange.values import Conversation, Decision, Intake, Plan, Reply
from shim.state import compact, expand
from shim.turn import Failure, WireError


class Compaction(Stage):
    writes = frozenset({"turn", "plan"})

    @property
    def name(self) -> str:
        return "state"

    def request(
        self, intake: Intake, decision: Decision
    ) -> Decision | tuple[Decision, Reply] | None:
        if decision.conversation is None or decision.route is None:
            return None
        try:
            return self._fit(intake, decision, decision.conversation)
        except WireError as e:
            return decision, failed_field(intake, Failure(str(e), e.status), e.param)

    def _fit(
        self, intake: Intake, decision: Decision, conversation: Conversation
    ) -> Decision | tuple[Decision, Reply]:
        """A turn that its upstream can answer, and what to do afterwards."""
        turn, route = decision.turn, decision.route
        assert route
        native = route.protocol == "responses"
        stores = expand.is_stored(turn) and not native and not intake.compacts
        compacts = not native and (intake.compacts or compact.is_triggered(turn))
        if not native:
            expand.refuse_conversation(turn)
            if conversation.missing:
                failure = _not_found(expand.previous(turn), conversation.missing)
                return decision, failed_field(intake, failure, "previous_response_id")
        elif conversation.parent:
            # Who knows nothing of that id must not see it.
            turn = expand.with_items(turn, [expand.inner(turn.fields["input"])])
        turn = expand.readable(turn)
        if compacts:
            turn = compact.summary_turn(turn)
            text = "the model is asked for a summary: compaction"
            decision = decision.note(self.name, "compaction", text)
        if stores or compacts:
            decision = decision.with_(plan=Plan(stores, compacts))
        return decision.with_(turn=turn)


def _not_found(id: str | None, missing: str) -> Failure:
    why = f"Previous response with id {id!r} not found"
    if missing != id:
        why += f": {missing!r}, an earlier part of its conversation, is not stored any more"
    return Failure(f"{why}.", 400, "previous_response_not_found", "invalid_request_error")
