"""Who answers a turn: what its model name means, the rules, the memory of its thread.

The order is fixed. A refusal stands above all. A model that the client names itself (listed, or
PROVIDER:MODEL) is its explicit choice: only a rule that names it sends it elsewhere. Where the
model was switched, what stood for the default until then asks for the one switched to. Then come
failover (a candidate that is down makes room for the next), a budget that wants a cheaper model,
auto, and last what the thread had before.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from ..codex.login import offered
from ..policy.rules import Spread
from ..policy.schema import Policy, Protocol
from . import choose
from .choose import NoRoute, Route
from .rules import Asked, RouteRules

if TYPE_CHECKING:
    from .switch import Switched

#: Reasoning efforts that may follow a listed model's name after a colon.
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")
_MOST_THREADS = 10_000


class Choice(msgspec.Struct, frozen=True):
    """The models that may answer, in order, and why; ``auto``: the virtual model is asked for.

    ``effort`` is the one named behind the model; ``explicit``: the client chose for itself.
    """

    names: tuple[str, ...]
    reason: str
    effort: str | None = None
    explicit: bool = False
    auto: bool = False


class Threads:
    """What each thread was given, so that it does not change its model on the way."""

    def __init__(self, most: int = _MOST_THREADS) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, str], tuple[str, ...]] = OrderedDict()

    def get(self, thread: str, asked: str) -> tuple[str, ...] | None:
        """The models the thread was given when it asked for ``asked``."""
        return self._kept.get((thread, asked))

    def keep(self, thread: str, asked: str, names: tuple[str, ...]) -> None:
        """Remember them."""
        self._kept[thread, asked] = names
        self._kept.move_to_end((thread, asked))
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)


class Decider:
    """Decides by names, rules and memory; health, limits and the classifier are the caller's."""

    def __init__(self) -> None:
        self._threads = Threads()
        self._turns: dict[str, int] = {}
        self._stands: object = None

    def decide(
        self,
        policy: Policy,
        rules: RouteRules,
        asked: Asked,
        default: str | None = None,
        switched: Switched | None = None,
    ) -> Choice:
        """Who may answer. NoRoute with a sentence when the name means nothing here."""
        named = asked.turn.model
        name, effort = split_effort(policy, named)
        why = "the model's name"
        moved = switched and switched.stands_for(name, asked.facts.started)
        if switched and moved and is_known(policy, switched.model):
            why = f"the switch to it, instead of {name}"
            # What the thread was given by its old name is not to be remembered.
            name = named = switched.model
        explicit = is_named(policy, name)
        thread = asked.facts.thread
        self._follow(policy, default)
        kept = self._threads.get(thread, named) if thread else None
        if kept and not all(is_known(policy, n) for n in kept):
            kept = None
        rule = rules.first(name, asked, explicit=explicit, kept=kept is not None)
        if rule is not None:
            names = self._targets(rule.label, rule.rule.to, thread)
            reason = f"the rule {rule.label}"
        elif kept:
            names, reason = kept, "what the thread had before"
        elif explicit or _is_auto(policy, name):
            names, reason = (name,), why
        else:
            names, reason = (_default(policy, name, default),), f"the default: no model {named}"
            reason = reason if named else "the default: no model named"
        if thread and (rule is not None or not explicit):
            self._threads.keep(thread, named, names)
        auto = _is_auto(policy, names[0])
        return Choice(names, reason, effort, explicit and rule is None, auto)

    def _follow(self, policy: Policy, default: str | None) -> None:
        """Edited routes count from the next turn on, also for threads under way."""
        stands = (policy.route, default or policy.default, policy.auto, policy.models)
        if stands != self._stands:
            self._threads, self._stands = Threads(), stands

    def _targets(self, label: str, to: str | list[str] | Spread, thread: str) -> tuple[str, ...]:
        if isinstance(to, str):
            return (to,)
        if isinstance(to, list):
            return tuple(to)
        if to.round_robin:
            turn = self._turns.get(label, 0)
            self._turns[label] = turn + 1
            return (to.round_robin[turn % len(to.round_robin)],)
        return (_share(to.split, f"{label} {thread}"),)


def split_effort(policy: Policy, asked: str) -> tuple[str, str | None]:
    """``name:high`` of a listed model as (name, effort); exact names and prefixes come first."""
    if is_known(policy, asked):
        return asked, None
    head, colon, last = asked.rpartition(":")
    known = choose.known_as(policy, head) in policy.models or _is_auto(policy, head)
    if colon and last in EFFORTS and known:
        return head, last
    return asked, None


def is_named(policy: Policy, name: str) -> bool:
    """Whether ``name`` is a listed model or ``PROVIDER:MODEL``."""
    name = choose.known_as(policy, name)
    head, colon, rest = name.partition(":")
    prefixed = bool(colon and rest) and policy.leads(head)
    return name in policy.models or name in policy.agents or prefixed


def is_known(policy: Policy, name: str) -> bool:
    """Whether ``name`` can be asked for: as `is_named` says, or as the virtual model."""
    return is_named(policy, name) or _is_auto(policy, name)


def routes(
    policy: Policy, names: Iterable[str], asked: str, reason: str, reverse: Protocol
) -> list[Route]:
    """The routes to ``names`` and to their fallbacks, each model once."""
    found: dict[str, Route] = {}

    def add(name: str, why: str) -> None:
        if name not in found and (route := choose.to(policy, name, asked, why, reverse)):
            found[name] = route

    first, waiting = "", list(names)
    for name in waiting:
        add(name, f"{reason}; instead of {first}" if first else reason)
        first = first or name
    while waiting:
        model = policy.models.get(waiting.pop(0))
        more = [n for n in (model.fallbacks if model else ()) if n not in found]
        for name in more:
            add(name, f"{reason}; a fallback of {first}")
        waiting = more + waiting
    return list(found.values())


def _default(policy: Policy, name: str, default: str | None) -> str:
    wanted = default or policy.default
    if wanted is None:
        raise NoRoute(f"no model {name!r} in the policy{choose.nearest(name, offered(policy))}")
    if not is_known(policy, wanted):
        near = choose.nearest(wanted, offered(policy))
        raise NoRoute(f"the default model {wanted} is not in the policy{near}")
    return wanted


def _is_auto(policy: Policy, name: str) -> bool:
    return policy.auto is not None and policy.auto.name == name


def _share(split: dict[str, float], seed: str) -> str:
    """A name by its share: the same seed, the same name, on any machine."""
    mark = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest())
    at = mark / 2**64 * sum(split.values())
    for name, share in split.items():
        at -= share
        if at < 0:
            return name
    return next(reversed(split))
