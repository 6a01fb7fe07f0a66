"""Tools that a policy takes away, renames or describes anew, in the client's own protocol.

A renamed tool has its new name in the conversation too; in the answer the client's own comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..json_text import WireError, load, members, split
from ..policy.match import fits
from ..policy.rules import ToolRule
from ..turn import Turn, is_absent
from .elements import Prompt, read_prompt, with_own, write_prompt

_encode = msgspec.json.encode
Fields = dict[str, msgspec.Raw]


class Tools:
    """What became of a turn's tools. ``names`` maps what the model calls a tool to the client's
    own name for it."""

    def __init__(self, turn: Turn, rules: Mapping[str, ToolRule]) -> None:
        self.turn = turn
        self.names: dict[str, str] = {}
        self.notes: list[str] = []
        self._rules = rules
        raw = turn.own.get("tools")
        if not rules or raw is None or is_absent(raw):
            return
        given = split(raw, "tools")
        self._taken = {_name(tool, f"tools[{n}]") for n, tool in enumerate(given)}
        remaining = self._remaining(given, "tools")
        if remaining == given:
            return
        fields: dict[str, Any] = {"tools": remaining or None}
        choice = turn.own.get("tool_choice")
        if choice is not None:
            fields["tool_choice"] = self._choice(choice, remaining)
        self.turn = self._renamed(with_own(turn, turn.own, **fields))

    def _rule(self, name: str) -> ToolRule | None:
        rule = self._rules.get(name)
        if rule is not None:
            return rule
        return next((r for n, r in self._rules.items() if "*" in n and fits(n, name)), None)

    def _remaining(
        self, tools: list[msgspec.Raw], place: str, inside: str = ""
    ) -> list[msgspec.Raw]:
        remaining = []
        for number, tool in enumerate(tools):
            at = f"{place}[{number}]"
            name = _name(tool, at)
            rule = self._rule(inside + name) if name else None
            if rule is None:
                fields = members(tool, at) if _is_object(tool) else {}
                inner = fields.get("tools", msgspec.Raw())
                if bytes(memoryview(inner)[:1]) == b"[":
                    given = split(inner, f"{at}.tools")
                    left = self._remaining(given, f"{at}.tools", f"{name}.")
                    if not left:
                        continue
                    if left != given:
                        tool = _encoded({**fields, "tools": _encoded(left)})
                remaining.append(tool)
            elif rule.remove:
                self.notes.append(f"tool {inside}{name} taken away")
            else:
                remaining.append(self._changed(members(tool, at), name, rule, at))
        return remaining

    def _changed(self, tool: Fields, name: str, rule: ToolRule, place: str) -> msgspec.Raw:
        kind, inner = _inner(tool, place)
        result = dict(inner or tool)
        if rule.description is not None:
            result["description"] = _encoded(rule.description)
            self.notes.append(f"tool {name} described anew")
        if rule.rename and "name" in result:
            if rule.rename in self._taken:
                self.notes.append(f"tool {name} keeps its name: {rule.rename} is taken")
            else:
                self._taken.add(rule.rename)
                result["name"] = _encoded(rule.rename)
                self.names[rule.rename] = name
                self.notes.append(f"tool {name} renamed to {rule.rename}")
        return _encoded(result if inner is None else {**tool, kind: _encoded(result)})

    def _choice(self, choice: msgspec.Raw, remaining: list[msgspec.Raw]) -> Any:
        """``tool_choice`` under the new names; left to the model where its tool is gone."""
        if not remaining:
            return None
        if not _is_object(choice):
            return choice
        renamed = _rename(choice, {old: new for new, old in self.names.items()}, "tool_choice")
        fields = members(renamed)
        inner = next((fields[f] for f in _INNER if _is_object(fields.get(f, _NONE))), renamed)
        raw = members(inner).get("name", _NONE)
        name = None if is_absent(raw) else load(raw)
        gone = name is not None and all(_name(tool) != name for tool in remaining)
        if not gone:
            return renamed
        return {"type": "auto"} if self.turn.protocol == "messages" else "auto"

    def _renamed(self, turn: Turn) -> Turn:
        """The conversation with the calls of renamed tools under their new names."""
        if not self.names:
            return turn
        prompt = read_prompt(turn)
        own = {old: new for new, old in self.names.items()}
        marks = [_encode(old) for old in own]
        elements = []
        for raw in prompt.elements:
            data = bytes(raw)
            if any(mark in data for mark in marks) and _is_object(raw):
                raw = _calls_renamed(raw, own)
            elements.append(raw)
        return write_prompt(turn, Prompt(prompt.protocol, prompt.head, elements))


_NONE = msgspec.Raw()
_INNER = ("function", "custom")


def _encoded(value: Any) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))


def _is_object(raw: msgspec.Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b"{"


def _text(raw: msgspec.Raw, place: str) -> str:
    value = None if is_absent(raw) else load(raw, place)
    if value is not None and not isinstance(value, str):
        raise WireError(f"{place} must be a string", param=place)
    return value or ""


def _inner(tool: Fields, place: str) -> tuple[str, Fields | None]:
    """The kind of a tool, and what is under the field of that name, as Chat has it."""
    kind = _text(tool.get("type", _NONE), f"{place}.type")
    inner = tool.get(kind, _NONE)
    return kind, members(inner, f"{place}.{kind}") if kind and _is_object(inner) else None


def _name(tool: msgspec.Raw, place: str = "tools") -> str:
    """How a tool is called: its name, else its type."""
    if not _is_object(tool):
        return ""
    fields = members(tool, place)
    kind, inner = _inner(fields, place)
    at = place if inner is None else f"{place}.{kind}"
    return _text((inner or fields).get("name", _NONE), f"{at}.name") or kind


def _rename(holder: msgspec.Raw, own: dict[str, str], place: str = "") -> msgspec.Raw:
    fields = members(holder, place)
    result = dict(fields)
    raw = fields.get("name", _NONE)
    if memoryview(raw)[:1] == b'"' and (new := own.get(load(raw))):
        result["name"] = _encoded(new)
    for kind in _INNER:
        inner = fields.get(kind, _NONE)
        if _is_object(inner):
            result[kind] = _rename_inner(inner, own)
    same = all(result[name] is fields[name] for name in fields)
    return holder if same else _encoded(result)


def _rename_inner(holder: msgspec.Raw, own: dict[str, str]) -> msgspec.Raw:
    fields = members(holder)
    raw = fields.get("name", _NONE)
    if memoryview(raw)[:1] == b'"' and (new := own.get(load(raw))):
        return _encoded({**fields, "name": _encoded(new)})
    return holder


class _Kind(msgspec.Struct):
    type: Any = None


_kind = msgspec.json.Decoder(_Kind).decode


def _calls_renamed(raw: msgspec.Raw, own: dict[str, str]) -> msgspec.Raw:
    """An element with the tools it calls under their new names; the same where it calls none."""
    if load(raw, "", _kind).type in ("function_call", "custom_tool_call"):
        return _rename(raw, own)
    result = members(raw)
    legacy = result.get("function_call", _NONE)
    if _is_object(legacy):
        result["function_call"] = _rename_inner(legacy, own)
    changed = result.get("function_call", _NONE) is not legacy and _is_object(legacy)
    for field, kinds in (("tool_calls", None), ("content", ("tool_use",))):
        entries = result.get(field, _NONE)
        if bytes(memoryview(entries)[:1]) != b"[":
            continue
        given = split(entries)
        renamed = [
            _rename(entry, own)
            if _is_object(entry) and (kinds is None or load(entry, "", _kind).type in kinds)
            else entry
            for entry in given
        ]
        if any(new is not old for new, old in zip(renamed, given, strict=True)):
            result[field] = _encoded(renamed)
            changed = True
    return _encoded(result) if changed else raw
