"""A policy tried on what was recorded: who would answer, what would be sent, what it would cost.

Nothing is asked of anybody: a model that auto would pick is told as such, providers count as up.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from ..client import facts_of
from ..prompt.edit import Editors
from ..prompt.tools import Tools
from ..record.replay import Recorded
from ..route.choose import NoRoute, Route
from ..route.decide import Decider, routes
from ..route.price import cost
from ..route.rules import Asked
from ..state.expand import is_compact
from ..turn import Turn, Usage, WireError
from ..wire.messages.count import count_tokens
from ..wire.protocols import codec, protocol_of
from .inforce import InForce
from .schema import Policy


class Trial(msgspec.Struct, frozen=True):
    """What a policy would make of one exchange.

    ``tokens`` of the prompt, about; ``dollars`` by the policy's price and the recorded usage, None
    where one of them is missing. ``mark`` tells prompts apart.
    """

    exchange: str
    asked: str
    model: str
    why: str
    tokens: int
    dollars: float | None
    refused: str | None
    edits: list[str]
    mark: str


class Trier:
    """Tries one policy on exchanges in the order in which they happened."""

    def __init__(self, policy: Policy, default: str | None = None) -> None:
        self._stands = InForce(policy)
        self._default = default
        self._editors = Editors()
        self._decider = Decider()

    def run(self, recorded: Recorded) -> Trial | None:
        """The policy's way with ``recorded``; None for what is no turn."""
        protocol = protocol_of(recorded.request.path)
        if protocol is None or is_compact(recorded.request.path):
            return None
        headers = recorded.request.headers
        try:
            turn = codec(protocol).read_request(recorded.request.body)
            facts = facts_of(headers, turn)
            outcome = self._editors.edit(turn, self._stands.catch, facts)
            tools = Tools(outcome.turn, self._stands.policy.tools)
            edited, notes = tools.turn, [*outcome.notes, *tools.notes]
            now = recorded.at
            asked = Asked(edited, headers, facts, frozenset(outcome.tags), now)
            route, why = self._route(edited, asked)
            tokens = count_tokens(edited)
        except WireError as e:
            return Trial(recorded.name, "", "", "", 0, None, str(e), [], "")
        refused = f"{outcome.refused[1]} (rule {outcome.refused[0]})" if outcome.refused else None
        return Trial(
            recorded.name,
            turn.model,
            route.label if route else "",
            why,
            tokens,
            self._dollars(recorded.row, route),
            refused if route else refused or why,
            notes,
            _mark(edited),
        )

    def _route(self, turn: Turn, asked: Asked) -> tuple[Route | None, str]:
        policy = self._stands.policy
        if policy.empty and not self._default:
            return Route("reverse", "responses", turn.model, turn.model, "no policy"), "no policy"
        try:
            choice = self._decider.decide(policy, self._stands.routes, asked, self._default)
        except NoRoute as e:
            return None, str(e)
        if choice.auto:
            name = choice.names[0]
            return Route("auto", "chat", name, turn.model, "", name=name), "auto would pick"
        found = routes(policy, choice.names, turn.model, choice.reason, "responses")
        return (found[0], choice.reason) if found else (None, "no such model")

    def _dollars(self, row: dict[str, Any], route: Route | None) -> float | None:
        model = self._stands.policy.models.get(route.name) if route else None
        usage = row.get("usage")
        if not (model and model.price and isinstance(usage, dict)):
            return None
        used = Usage(
            usage.get("input_tokens", 0),
            usage.get("cached_tokens", 0),
            usage.get("cache_write_tokens", 0),
            usage.get("output_tokens", 0),
        )
        return cost(used, model.price)


def _mark(turn: Turn) -> str:
    """The same prompt and tools, the same mark."""
    mark = hashlib.blake2b(digest_size=8)
    for name in ("input", "messages", "instructions", "system", "tools"):
        if (raw := turn.own.get(name)) is not None:
            mark.update(raw)
    return mark.hexdigest()


class Change(msgspec.Struct, frozen=True):
    """One exchange that a new policy would treat otherwise, and how, in words."""

    exchange: str
    said: list[str]


def compare(old: Trial, new: Trial) -> Change | None:
    """How ``new`` differs from ``old``; None when it does not."""
    said: list[str] = []
    if new.refused != old.refused:
        said.append(f"refused: {new.refused}" if new.refused else "not refused any more")
    if not new.refused and new.model != old.model:
        said.append(f"route {old.model or '(none)'} → {new.model}, by {new.why}")
    if new.mark != old.mark:
        said.append(f"prompt {old.tokens:,} → {new.tokens:,} tokens")
        said += [note for note in new.edits if note not in old.edits]
        said += [f"no more: {note}" for note in old.edits if note not in new.edits]
    if old.dollars is not None and new.dollars is not None and old.dollars != new.dollars:
        said.append(f"${old.dollars:.4f} → ${new.dollars:.4f}")
    return Change(new.exchange, said) if said else None
