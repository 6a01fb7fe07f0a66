"""Repair for one turn: what the policy wants of it, and the filters its answer goes through."""

from __future__ import annotations

from collections.abc import Callable

from ..policy.rules import Repair
from ..route.choose import Route
from ..tools.bridge import Bridge
from ..turn import Event, Turn
from .checks import Toolbox
from .dialects import DIALECTS
from .native import NativeCalls
from .stream import Rules, TextCalls

Filter = Callable[[list[Event]], list[Event]]
__all__ = ["Repairs", "Rules", "rules_for"]


def rules_for(repair: Repair | None, route: Route, told: str = "none") -> Rules | None:
    """What is repaired in an answer that comes by ``route``; None: nothing. ``told`` is the form
    in which the model was told to call, which is looked for in any case."""
    rules = _rules(repair, route)
    if told == "none":
        return rules
    names = dict.fromkeys([*(rules.dialects if rules else ()), told])
    return Rules(tuple(names), "loose", bool(rules and rules.arguments), always=True)


def _rules(repair: Repair | None, route: Route) -> Rules | None:
    if repair is None:
        return None
    how = repair.models.get(route.label, repair.providers.get(route.provider))
    if how is False:
        return None
    names = tuple(name for name in DIALECTS if repair.dialects.get(name, True))
    strictness = how if isinstance(how, str) else repair.strictness
    return Rules(names, strictness, repair.arguments, always=how is not None)


class Repairs:
    """The filters of one answer; ``notes`` are what they have done."""

    def __init__(self, rules: Rules | None, bridge: Bridge, turn: Turn) -> None:
        self.notes: list[str] = []
        self._calls: TextCalls | None = None
        self._native: NativeCalls | None = None
        if rules is None:
            return
        tools = Toolbox(bridge, turn.setting("tool_choice"), loose=rules.strictness == "loose")
        if not tools:
            return
        if rules.dialects:
            self._calls = TextCalls(rules, tools, lambda: turn.seed, note=self.notes.append)
        if rules.arguments:
            self._native = NativeCalls(bridge, self.notes.append)

    @property
    def plain(self) -> Callable[[str], bool]:
        """Says quickly of a piece of text that it may pass as it is."""
        return self._calls.plain if self._calls else lambda text: True

    def filter(self, events: list[Event], pass_on: Filter) -> list[Event]:
        """``events`` with calls made of text, ``pass_on`` through the filters between, and with
        arguments mended."""
        if self._calls:
            events = self._calls.filter(events)
        if self._native is None:
            return pass_on(events)
        return self._native.arguments(pass_on(self._native.names(events)))
