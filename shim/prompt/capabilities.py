"""How much of Codex a turn keeps or gets: the policy's ``capabilities`` and a request's own.

A request names its own in the top-level field ``codex_capabilities`` (the OpenAI SDK's
``extra_body``); what it says goes before what its provider's entry says.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from ..client import Facts
from ..codex.catalog import base_instructions
from ..codex.tools import tools_for
from ..json_text import load, split
from ..policy.rules import Capabilities, Inject
from ..repair.describe import describe
from ..tools.bridge import Bridge
from ..turn import Turn, WireError, is_absent
from . import inject
from .elements import Prompt, read_prompt, with_own, write_prompt

FIELD = "codex_capabilities"
#: The names of client protocols there, and ours.
PROTOCOLS = {
    "openai-chat": "chat",
    "openai-responses": "responses",
    "anthropic-messages": "messages",
}
_NAMES = frozenset(Capabilities.__struct_fields__)


def asked_for(raw: msgspec.Raw | bytes) -> dict[str, Any]:
    """What a request's own field says. WireError (400) that names what is wrong with it."""
    value = load(raw, FIELD)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WireError(f"{FIELD} must be an object", param=FIELD)
    if strange := set(value) - _NAMES:
        valid = ", ".join(sorted(_NAMES))
        name = sorted(strange)[0]
        raise WireError(f"{FIELD}.{name}: no such capability; valid: {valid}", param=FIELD)
    try:
        msgspec.convert(value, Capabilities)
    except msgspec.ValidationError as e:
        message, _, path = str(e).partition(" - at `$")
        place = f"{FIELD}{path.rstrip('`')}"
        raise WireError(f"{place}: {message}", param=place) from None
    return value


def together(own: dict[str, Any], provider: Capabilities | None) -> Capabilities | None:
    """A request's own and its provider's; None where neither says anything."""
    if not own:
        return provider
    base = msgspec.to_builtins(provider) if provider else {}
    return msgspec.convert({**base, **own}, Capabilities)


def apply(turn: Turn, wanted: Capabilities, facts: Facts, date: str) -> tuple[Turn, list[str]]:
    """``turn`` with what ``wanted`` adds, and what that was. ``date`` as 2026-11-21."""
    notes: list[str] = []
    injects: list[Inject] = []
    prompt = read_prompt(turn)
    if wanted.prompt_mode == "codex_default" and not _instructed(prompt):
        injects.append(Inject(text=base_instructions()))
        notes.append("Codex's base instructions put in front")
    if wanted.include_environment_context:
        text = environment(facts, date)
        injects.append(Inject(text=text, role="user", at="after_instructions"))
        notes.append("folder, shell and date told to the model")
    form = wanted.tool_text_format
    if form != "none" and (offered := Bridge(turn.tools).offered):
        text = describe(offered.values())
        injects.append(Inject(text=text, at="after_instructions"))
        notes.append(f"tools described as text too: {form}")
    if injects:
        turn = write_prompt(turn, inject.put(prompt, injects))
    if wanted.tool_schema_mode == "merge":
        turn, added = _merge(turn)
        notes += [f"tool {name} of Codex offered too" for name in added]
    return turn, notes


def environment(facts: Facts, date: str) -> str:
    """What Codex itself tells a model of where it works."""
    shell = os.path.basename(os.environ.get("SHELL", "")) or "sh"
    return (
        "<environment_context>\n"
        f"  <cwd>{facts.project or os.getcwd()}</cwd>\n"
        f"  <shell>{shell}</shell>\n"
        f"  <current_date>{date}</current_date>\n"
        "</environment_context>"
    )


def _instructed(prompt: Prompt) -> bool:
    """Whether the client sent instructions of its own."""
    return prompt.head is not None or bool(prompt.elements and inject.instructs(prompt.elements[0]))


def _merge(turn: Turn) -> tuple[Turn, list[str]]:
    raw = turn.own.get("tools", msgspec.Raw())
    own = [] if is_absent(raw) else split(raw, "tools")
    known = {str(t.get("name")) for t in turn.tools}
    added = [tool for tool in tools_for(turn.protocol) if _name(tool) not in known]
    if not added:
        return turn, []
    return with_own(turn, turn.own, tools=[*own, *added]), [_name(tool) for tool in added]


def _name(tool: dict[str, Any]) -> str:
    return str((tool.get("function") or tool)["name"])
