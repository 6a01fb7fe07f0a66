"""Client tools as plain functions for an upstream that knows nothing else, and calls back again.

Sources: codex-wire.md sections 4 and 15. A custom (freeform) tool becomes a function with one
string ``input``; a namespaced tool gets a flat name; a call comes back as the item Codex accepts.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from ..turn import OutputItem, Tool
from ..wire.lenient import Unreadable, strict
from .hosted import HOSTED, call_item

_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64
#: A namespace whose members Codex also accepts under their plain names.
_PLAIN_NAMESPACE = "functions"


class Bridged(msgspec.Struct, frozen=True):
    """One offered tool: its family, its own name and namespace, the flat name the upstream sees."""

    kind: str
    name: str
    flat: str
    description: str = ""
    parameters: Any = None
    namespace: str | None = None
    strict: bool | None = None


class Bridge:
    """The tools of one turn. ``left_out`` names what has no counterpart upstream."""

    def __init__(self, tools: list[Tool]) -> None:
        self.offered: dict[str, Bridged] = {}
        self.left_out: list[str] = []
        self._flat: dict[tuple[str | None, str], str] = {}
        for tool in tools:
            self._add(tool, None)

    def _add(self, tool: Tool, namespace: str | None) -> None:
        kind, name = tool.get("type"), tool.get("name")
        if kind == "namespace" and isinstance(name, str):
            inner = None if name == _PLAIN_NAMESPACE else name
            for member in tool.get("tools") or ():
                if isinstance(member, dict):
                    self._add(member, inner)
        elif kind == "function" and isinstance(name, str):
            self._put(
                kind,
                name,
                namespace,
                tool.get("description"),
                tool.get("parameters"),
                tool.get("strict"),
            )
        elif kind == "custom" and isinstance(name, str):
            self._put(kind, name, namespace, _freeform(tool), _INPUT)
        elif kind in HOSTED:
            hosted = HOSTED[kind]
            self._put(kind, hosted.name, None, hosted.description, hosted.parameters)
        elif kind == "tool_search":
            self._put(kind, "tool_search", None, tool.get("description"), tool.get("parameters"))
        elif kind:
            self.left_out.append(str(kind))

    def _put(
        self,
        kind: str,
        name: str,
        namespace: str | None,
        description: Any,
        parameters: Any,
        strict: Any = None,
    ) -> None:
        if (namespace, name) in self._flat:
            return
        flat = self._flatten(name, namespace)
        self._flat[namespace, name] = flat
        self.offered[flat] = Bridged(
            kind,
            name,
            flat,
            description or "",
            parameters,
            namespace,
            strict if isinstance(strict, bool) else None,
        )

    def allowed(self, choice: Any) -> list[Bridged]:
        """The tools a turn with the ``tool_choice`` may call: all, or those it names."""
        if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
            return [*self.offered.values()]
        names = {
            self.flat_name(str(t.get("name") or t.get("type")), t.get("namespace"))
            for t in choice.get("tools") or ()
            if isinstance(t, dict)
        }
        return [tool for tool in self.offered.values() if tool.flat in names]

    def offer_answer(self, form: dict[str, Any]) -> Bridged:
        """A function whose call is the answer itself, in the ``form`` that was asked for."""
        name = str(form.get("name") or "answer")
        text = form.get("description") or "Gives the final answer. Call it with the whole answer."
        self._put("answer", name, "answer", text, form.get("schema"))
        return self.offered[self._flat["answer", name]]

    def _flatten(self, name: str, namespace: str | None) -> str:
        full = f"{namespace}__{name}" if namespace else name
        flat = _UNFIT.sub("_", full)
        if len(flat) > _LONGEST_NAME or flat in self.offered:
            mark = hashlib.blake2b(full.encode(), digest_size=4).hexdigest()
            flat = f"{flat[: _LONGEST_NAME - 9]}_{mark}"
        return flat

    def flat_name(self, name: str, namespace: str | None = None) -> str:
        """The name under which the upstream knows the tool ``name`` of ``namespace``."""
        if namespace == _PLAIN_NAMESPACE:
            namespace = None
        known = self._flat.get((namespace, name))
        return known or _UNFIT.sub("_", f"{namespace}__{name}" if namespace else name)[:64]

    def rename(self, names: dict[str, str]) -> None:
        """From now on calls of the tools in ``names`` come back under the names they map to."""
        for flat, tool in self.offered.items():
            if tool.name in names:
                self.offered[flat] = msgspec.structs.replace(tool, name=names[tool.name])

    def call_item(self, flat: str, call_id: str, arguments: str) -> OutputItem:
        """The finished item for a call of ``flat``; arguments as the model wrote them."""
        tool = self.offered.get(flat)
        if tool is None:
            return {
                "type": "function_call",
                "call_id": call_id,
                "name": flat,
                "arguments": arguments or "{}",
            }
        if tool.kind == "custom":
            item: OutputItem = {
                "type": "custom_tool_call",
                "call_id": call_id,
                "name": tool.name,
                "input": freeform_input(arguments),
            }
        elif tool.kind in HOSTED:
            return call_item(HOSTED[tool.kind], call_id, arguments)
        elif tool.kind == "tool_search":
            return {
                "type": "tool_search_call",
                "call_id": call_id,
                "execution": "client",
                "arguments": _object(arguments),
            }
        else:
            item = {
                "type": "function_call",
                "call_id": call_id,
                "name": tool.name,
                "arguments": arguments if arguments.strip() else "{}",
            }
        if tool.namespace:
            item["namespace"] = tool.namespace
        return item


_INPUT = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The tool's whole input, verbatim."}},
    "required": ["input"],
    "additionalProperties": False,
}


def _freeform(tool: Tool) -> str:
    """A custom tool's description with its grammar, since a function has no place for one."""
    text = tool.get("description") or ""
    form = tool.get("format")
    if isinstance(form, dict) and form.get("definition"):
        text += (
            f"\n\nThe string `input` must follow this {form.get('syntax') or ''} grammar:\n"
            f"{form['definition']}"
        )
    return text


def freeform_input(arguments: str) -> str:
    """The input of a custom tool out of a function's arguments.

    What is not the JSON object we asked for is handed on as it stands: the tool then says what is
    wrong with it. Nothing that was cut off is completed.
    """
    try:
        value = strict(arguments or '""')
    except Unreadable:
        return arguments
    if isinstance(value, dict):
        if isinstance(value.get("input"), str):
            return str(value["input"])
        strings = [v for v in value.values() if isinstance(v, str)]
        return strings[0] if len(value) == 1 and strings else arguments
    return value if isinstance(value, str) else arguments


def _object(arguments: str) -> Any:
    try:
        value = strict(arguments or "{}")
    except Unreadable:
        value = {}
    return value if isinstance(value, dict) else {}
