"""A policy tried on what was recorded: who would answer, what would be sent, what it would cost.

Nothing is asked of anybody: a model that auto would pick is told as such, providers count as up.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from ..client import facts_of
from ..prompt.edit import Editors
from ..prompt.mask import Sessions
from ..prompt.tools import Tools
from ..record.replay import Recorded
from ..route.choose import NoRoute, Route
from ..route.decide import Decider, routes
from ..route.limits import Limits, Verdict, Who
from ..route.price import cost
from ..route.rules import Asked
from ..state.expand import is_compact
from ..state.store import Memory
from ..turn import Turn, Usage, WireError
from ..wire.messages.count import count_tokens
from ..wire.paths import protocol_of
from ..wire.protocols import codec
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
        self._sessions = Sessions()
        self._decider = Decider()
        self._limits = Limits(policy.limits, Memory())

    def run(self, recorded: Recorded) -> Trial | None:
        """The policy's way with ``recorded``; None for what is no turn."""
        protocol = protocol_of(recorded.request.path)
        if protocol is None or is_compact(recorded.request.path):
            return None
        headers = recorded.request.headers
        try:
            turn = codec(protocol).read_request(recorded.request.body)
            facts = facts_of(headers, turn)
            finder = self._stands.finder
            masks = self._sessions.masks(facts.session, finder) if finder else None
            outcome = self._editors.edit(turn, self._stands.catch, facts, masks)
            tools = Tools(outcome.turn, self._stands.policy.tools)
            edited, notes = tools.turn, [*outcome.notes, *tools.notes]
            if masks and masks.table:
                notes.append(f"{len(masks.table)} secrets masked in this session")
            now = recorded.at
            asked = Asked(edited, headers, facts, frozenset(outcome.tags), now)
            who = Who(facts.session, facts.key)
            verdicts = self._limits.before(who, recorded.at)
            route, why = self._route(edited, asked, verdicts)
            tokens = count_tokens(edited)
        except WireError as e:
            return Trial(recorded.name, "", "", "", 0, None, str(e), [], "")
        refused = f"{outcome.refused[1]} (rule {outcome.refused[0]})" if outcome.refused else None
        refused = refused or next((v.sentence for v in verdicts if v.state == "refuse"), None)
        if refused is None:
            self._count(who, recorded, route)
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

    def _route(self, turn: Turn, asked: Asked, verdicts: list[Verdict]) -> tuple[Route | None, str]:
        policy = self._stands.policy
        if policy.empty and not self._default:
            return Route("reverse", "responses", turn.model, turn.model, "no policy"), "no policy"
        try:
            choice = self._decider.decide(policy, self._stands.routes, asked, self._default)
        except NoRoute as e:
            return None, str(e)
        cheaper = next((v for v in verdicts if v.state == "cheaper" and v.to), None)
        if cheaper and cheaper.to and not choice.explicit:
            why = f"the limit {cheaper.label}"
            choice = msgspec.structs.replace(choice, names=(cheaper.to,), reason=why, auto=False)
        if choice.auto:
            name = choice.names[0]
            return Route("auto", "chat", name, turn.model, "", name=name), "auto would pick"
        found = routes(policy, choice.names, turn.model, choice.reason, "responses")
        return (found[0], choice.reason) if found else (None, "no such model")

    def _dollars(self, row: dict[str, Any], route: Route | None) -> float | None:
        model = self._stands.policy.models.get(route.name) if route else None
        used = _used(row)
        return cost(used, model.price) if used and model and model.price else None

    def _count(self, who: Who, recorded: Recorded, route: Route | None) -> None:
        model = self._stands.policy.models.get(route.name) if route else None
        if used := _used(recorded.row):
            self._limits.after(who, used, model.price if model else None, recorded.at)


def _used(row: dict[str, Any]) -> Usage | None:
    """What a recorded exchange used."""
    usage = row.get("usage")
    if not isinstance(usage, dict):
        return None
    names = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")
    return Usage(*(usage.get(name, 0) for name in names))


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
