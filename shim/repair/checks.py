"""Whether what a text seems to call may be called in this turn, and with which arguments.

The rule is: in doubt it is text. A call must name a tool that is offered and fit its schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import msgspec

from ..tools.bridge import Bridge, Bridged
from .codex import PATCH, SHELLS, find, translate
from .dialects.base import Call, Cut
from .fit import Misfit, fit


class Checked(msgspec.Struct, frozen=True):
    """A call that may be made: the upstream's name of the tool, and arguments as JSON."""

    name: str
    arguments: str
    note: str = ""


#: No provider takes a longer name of a tool, and a pattern for it would be nested as deeply.
_LONGEST_TAG = 128


class Refused(Exception):
    """Why it is text after all."""


class Toolbox:
    """The tools that may be called in a turn. ``choice`` is its tool_choice."""

    def __init__(self, bridge: Bridge, choice: Any = None, *, loose: bool = False) -> None:
        self._loose = loose
        self._tools = {t.flat: t for t in _allowed(bridge, choice) if t.kind != "answer"}

    def __bool__(self) -> bool:
        return bool(self._tools)

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """The names under which a tool may be a tag of its own."""
        names = {*self._tools, *(t.name for t in self._tools.values())}
        if sum(name in self._tools for name in SHELLS) == 1:
            names |= {"execute_command", "shell", "bash"}
        return tuple(sorted(name for name in names if len(name) <= _LONGEST_TAG))

    def check(self, calls: Iterable[Call]) -> list[Checked]:
        """The calls as they may be made. Refused with the reason where one may not."""
        return [self._one(name, given) for name, given in calls]

    def _one(self, name: str, given: Any) -> Checked:
        tool = find(name, self._tools)
        if tool is None:
            raise Refused(f"no tool {name[:80]} is offered")
        if isinstance(given, Cut):
            raise Refused(f"the arguments of {tool.name} are cut off")
        given = translate(tool, given)
        if not isinstance(given, dict):
            raise Refused("the arguments are no object")
        if tool.name == "apply_patch":
            _patch(given)
        try:
            made = fit(given, tool.parameters, loose=self._loose)
        except Misfit as e:
            raise Refused(str(e)) from None
        note = "" if tool.flat == name else f" (called {name[:60]})"
        return Checked(tool.flat, json.dumps(made, ensure_ascii=False), note)


def _patch(given: dict[str, Any]) -> None:
    texts = [value for value in given.values() if isinstance(value, str)]
    if not any(PATCH.fullmatch(text.strip()) for text in texts):
        raise Refused("the patch is not whole")


def _allowed(bridge: Bridge, choice: Any) -> list[Bridged]:
    if choice == "none" or (isinstance(choice, dict) and choice.get("type") == "none"):
        return []
    if isinstance(choice, dict) and choice.get("type") in ("function", "custom", "tool"):
        named = choice.get("name") or (choice.get("function") or {}).get("name")
        return [t for t in bridge.offered.values() if named in (t.name, t.flat)]
    return bridge.allowed(choice)
