"""Route rules: the first whose condition holds says which model answers.

Conditions are compiled once per policy, cheap ones first; all texts and patterns are looked for in
the newest user message in one pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Set
from datetime import datetime
from functools import cached_property

from ..client import Facts
from ..policy.match import Needles, fits
from ..policy.rules import RouteRule, When
from ..policy.units import amount, seconds
from ..turn import Turn, text_of, value_of
from ..wire.messages.count import count_tokens

_HOURS = re.compile(r"(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_IMAGES = (b'"input_image"', b'"computer_screenshot"')


class Asked:
    """A turn as route rules see it. What is dear to know is found out when a rule asks.

    ``now`` in seconds since 1970; ``headers`` has lower-case names.
    """

    def __init__(
        self,
        turn: Turn,
        headers: dict[str, str],
        facts: Facts,
        tags: Set[str] = frozenset(),
        now: float = 0.0,
    ) -> None:
        self.turn = turn
        self.headers = headers
        self.facts = facts
        self.tags = tags
        self.now = now

    @cached_property
    def newest(self) -> str:
        """The text of the newest user message."""
        return newest_text(self.turn)

    @cached_property
    def tokens(self) -> int:
        """How long the prompt is, about."""
        return count_tokens(self.turn)

    @cached_property
    def images(self) -> bool:
        """Whether there are images in it."""
        return has_images(self.turn)

    @cached_property
    def tools(self) -> list[str]:
        """The names of the tools offered."""
        return [str(t.get("name") or t.get("type")) for t in self.turn.tools]

    @cached_property
    def effort(self) -> str:
        """The reasoning effort asked for."""
        reasoning = self.turn.setting("reasoning")
        found = reasoning.get("effort") if isinstance(reasoning, dict) else None
        return found if isinstance(found, str) else ""

    @property
    def age(self) -> float:
        """How long ago the thread began, in seconds; 0 where nobody knows."""
        return self.now - self.facts.started if self.facts.started else 0.0


def newest_text(turn: Turn) -> str:
    """The text of the newest user message of ``turn``; empty when there is none."""
    for item in reversed(turn.items):
        if item.role == "user" and item.type in (None, "message"):
            value = value_of(item.content, f"{turn.place(item)}.content")
            if isinstance(value, list):
                parts = [p.get("text") for p in value if isinstance(p, dict)]
                return "\n".join(p for p in parts if isinstance(p, str))
            return text_of(item.content)
    return ""


def has_images(turn: Turn) -> bool:
    """Whether a message or an output of ``turn`` holds an image."""
    for item in turn.items:
        for raw in (item.content, item.output):
            if memoryview(raw).nbytes > 20 and any(mark in bytes(raw) for mark in _IMAGES):
                return True
    return False


Check = Callable[[Asked, set[int]], bool]


class Rule:
    """One rule, ready to be used. ``names_model``: it says which models asked for it is about."""

    def __init__(self, number: int, rule: RouteRule, needles: Needles) -> None:
        self.rule = rule
        self.label = rule.name or f"route[{number}]"
        self.names_model = rule.when.model is not None
        self._model = rule.when.model
        self._checks = list(_checks(rule.when, needles))

    def holds(self, model: str, asked: Asked, found: set[int]) -> bool:
        """Whether the whole condition holds."""
        if self._model is not None and not fits(self._model, model):
            return False
        return all(check(asked, found) for check in self._checks)


class RouteRules:
    """The route rules of one policy."""

    def __init__(self, rules: Sequence[RouteRule]) -> None:
        self._needles = Needles()
        self._rules = [Rule(n, rule, self._needles) for n, rule in enumerate(rules)]
        self._searches = any(r.when.text or r.when.pattern for r in rules)
        self._needles.done()

    def first(self, model: str, asked: Asked, *, explicit: bool, kept: bool) -> Rule | None:
        """The first rule that holds. ``explicit``: only one that names the model may; ``kept``:
        only one that may move a thread may."""
        found: set[int] | None = None
        for rule in self._rules:
            if (explicit and not rule.names_model) or (kept and not rule.rule.mid_thread):
                continue
            if found is None:
                found = self._needles.found(asked.newest) if self._searches else set()
            if rule.holds(model, asked, found):
                return rule
        return None


def _checks(when: When, needles: Needles) -> list[Check]:
    """The conditions but for the model, cheap ones first."""
    made: list[Check] = []
    if when.client is not None:
        made.append(lambda a, _: fits(when.client, a.facts.client))
    if when.project is not None:
        made.append(lambda a, _: fits(when.project, a.facts.project))
    if when.tag is not None:
        made.append(lambda a, _: any(fits(when.tag, tag) for tag in a.tags))
    for name, value in when.header.items():
        made.append(_header(name.lower(), value))
    if when.effort is not None:
        made.append(lambda a, _: fits(when.effort, a.effort))
    if when.hours is not None:
        made.append(_hours(when.hours))
    if when.days:
        days = {_DAYS.index(day) for day in when.days}
        made.append(lambda a, _: datetime.fromtimestamp(a.now).weekday() in days)
    if when.older_than is not None:
        old = seconds(when.older_than)
        made.append(lambda a, _: a.age > old)
    if when.younger_than is not None:
        young = seconds(when.younger_than)
        made.append(lambda a, _: a.age < young)
    for number in _needle(when, needles):
        made.append(_found(number))
    if when.tools is not None:
        made.append(_tools(when.tools))
    if when.images is not None:
        made.append(lambda a, _: a.images is when.images)
    if when.larger_than is not None:
        least = amount(when.larger_than)
        made.append(lambda a, _: a.tokens > least)
    if when.smaller_than is not None:
        most = amount(when.smaller_than)
        made.append(lambda a, _: a.tokens < most)
    return made


def _needle(when: When, needles: Needles) -> list[int]:
    found = [needles.text(when.text)] if when.text else []
    return found + ([needles.pattern(when.pattern)] if when.pattern else [])


def _found(number: int) -> Check:
    return lambda _, found: number in found


def _header(name: str, value: str) -> Check:
    return lambda a, _: fits(value, a.headers.get(name))


def _tools(wanted: bool | str | list[str]) -> Check:
    if isinstance(wanted, bool):
        return lambda a, _: bool(a.tools) is wanted
    return lambda a, _: any(fits(wanted, tool) for tool in a.tools)


def _hours(text: str) -> Check:
    found = _HOURS.fullmatch(text.strip())
    assert found, text
    first, last = (int(found[n]) * 60 + int(found[n + 1]) for n in (1, 3))

    def check(asked: Asked, _: set[int]) -> bool:
        time = datetime.fromtimestamp(asked.now)
        minute = time.hour * 60 + time.minute
        return first <= minute < last if first <= last else minute >= first or minute < last

    return check
