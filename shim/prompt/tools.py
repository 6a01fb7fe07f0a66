"""Tools that a policy takes away, renames or describes anew, in the client's own protocol.

A renamed tool has its new name in the conversation too; in the answer the client's own comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..policy.match import fits
from ..policy.rules import ToolRule
from ..turn import Turn
from .elements import Prompt, read_prompt, with_own, write_prompt

_encode = msgspec.json.encode
_decode = msgspec.json.decode


class Tools:
    """What became of a turn's tools. ``names`` maps what the model calls a tool to the client's
    own name for it."""

    def __init__(self, turn: Turn, rules: Mapping[str, ToolRule]) -> None:
        self.turn = turn
        self.names: dict[str, str] = {}
        self.notes: list[str] = []
        self._rules = rules
        raw = turn.own.get("tools")
        given = _decode(raw) if raw is not None else None
        if not rules or not isinstance(given, list):
            return
        self._taken = {_name(tool) for tool in given}
        kept = self._kept(given)
        if kept == given:
            return
        fields: dict[str, Any] = {"tools": kept or None}
        choice = turn.own.get("tool_choice")
        if choice is not None:
            fields["tool_choice"] = self._choice(_decode(choice), kept)
        self.turn = self._renamed(with_own(turn, turn.own, **fields))

    def _rule(self, name: str) -> ToolRule | None:
        rule = self._rules.get(name)
        if rule is not None:
            return rule
        return next((r for n, r in self._rules.items() if "*" in n and fits(n, name)), None)

    def _kept(self, tools: list[Any], inside: str = "") -> list[Any]:
        kept = []
        for tool in tools:
            name = _name(tool)
            rule = self._rule(inside + name) if name else None
            if rule is None:
                inner = tool.get("tools") if isinstance(tool, dict) else None
                if isinstance(inner, list):
                    left = self._kept(inner, f"{name}.")
                    if not left:
                        continue
                    tool = {**tool, "tools": left} if left != inner else tool
                kept.append(tool)
            elif rule.remove:
                self.notes.append(f"tool {inside}{name} taken away")
            else:
                kept.append(self._changed(tool, name, rule))
        return kept

    def _changed(self, tool: dict[str, Any], name: str, rule: ToolRule) -> dict[str, Any]:
        kind = tool.get("type")
        inner = tool.get(kind) if isinstance(kind, str) else None
        made = dict(inner) if isinstance(inner, dict) else dict(tool)
        if rule.description is not None:
            made["description"] = rule.description
            self.notes.append(f"tool {name} described anew")
        if rule.rename and "name" in made:
            if rule.rename in self._taken:
                self.notes.append(f"tool {name} keeps its name: {rule.rename} is taken")
            else:
                self._taken.add(rule.rename)
                made["name"] = rule.rename
                self.names[rule.rename] = name
                self.notes.append(f"tool {name} renamed to {rule.rename}")
        return {**tool, kind: made} if isinstance(inner, dict) and isinstance(kind, str) else made

    def _choice(self, choice: Any, kept: list[Any]) -> Any:
        """``tool_choice`` under the new names; left to the model where its tool is gone."""
        if not kept:
            return None
        if not isinstance(choice, dict):
            return choice
        renamed = _rename(choice, {old: new for new, old in self.names.items()})
        inner = renamed.get("function") or renamed.get("custom") or renamed
        name = inner.get("name") if isinstance(inner, dict) else None
        gone = name is not None and all(_name(tool) != name for tool in kept)
        if not gone:
            return renamed
        return {"type": "auto"} if self.turn.protocol == "messages" else "auto"

    def _renamed(self, turn: Turn) -> Turn:
        """The conversation with the calls of renamed tools under their new names."""
        prompt = read_prompt(turn) if self.names else None
        if prompt is None:
            return turn
        own = {old: new for new, old in self.names.items()}
        marks = [_encode(old) for old in own]
        elements = []
        for raw in prompt.elements:
            data = bytes(raw)
            if any(mark in data for mark in marks):
                value = _decode(raw)
                changed = _calls_renamed(value, own)
                raw = raw if changed == value else msgspec.Raw(_encode(changed))
            elements.append(raw)
        return write_prompt(turn, Prompt(prompt.protocol, prompt.head, elements))


def _name(tool: Any) -> str:
    """How a tool is called: its name, else its type."""
    if not isinstance(tool, dict):
        return ""
    kind = tool.get("type")
    inner = tool.get(kind) if isinstance(kind, str) else None
    named = inner if isinstance(inner, dict) else tool
    return str(named.get("name") or kind or "")


def _rename(holder: dict[str, Any], own: dict[str, str]) -> dict[str, Any]:
    made = dict(holder)
    if isinstance(made.get("name"), str):
        made["name"] = own.get(made["name"], made["name"])
    for kind in ("function", "custom"):
        if isinstance(made.get(kind), dict):
            made[kind] = _rename(made[kind], own)
    return made


def _calls_renamed(value: Any, own: dict[str, str]) -> Any:
    """An element with the tools it calls under their new names."""
    if not isinstance(value, dict):
        return value
    if value.get("type") in ("function_call", "custom_tool_call"):
        return _rename(value, own)
    made = dict(value)
    for field, kinds in (("tool_calls", None), ("content", ("tool_use",))):
        entries = value.get(field)
        if isinstance(entries, list):
            made[field] = [
                _rename(e, own)
                if isinstance(e, dict) and (kinds is None or e.get("type") in kinds)
                else e
                for e in entries
            ]
    return made
