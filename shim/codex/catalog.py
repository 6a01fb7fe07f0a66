"""The model catalog Codex wants: one entry per model of a policy.

Codex takes context window, tools and modalities from this list only. A model that is missing in it
works with guessed values and a warning, so every name a client may ask for gets an entry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from ..policy.schema import Model, Policy
from .login import offered

#: The name Codex asks for when neither the policy nor the user names a model.
UNNAMED = "default"

#: Output of one tool call that Codex keeps, in tokens.
TOOL_OUTPUT_TOKENS = 10_000

_EFFORTS = {
    "none": "No reasoning",
    "minimal": "Almost no reasoning",
    "low": "Short reasoning, quick answers",
    "medium": "Balances speed and depth",
    "high": "Long reasoning for hard problems",
    "xhigh": "Very long reasoning",
    "max": "As much reasoning as the model has",
}


def catalog(policy: Policy, also: Iterable[str] = ()) -> dict[str, Any]:
    """``{"models": [entry, …]}`` for every model of the policy, the default one first.

    ``also`` names further models a client may ask for, such as ``PROVIDER:upstream-model``; they
    get the entry of a model about which nothing was said. There is always at least one entry,
    since Codex refuses an empty catalog.
    """
    models = models_of(policy)
    if (default := policy.default) and default not in {**models, **policy.models}:
        models[default] = Model(provider=default.partition(":")[0])
    for name in also:
        if name not in models:
            known = policy.models.get(name)
            models[name] = known or Model(provider=name.partition(":")[0])
    if not models:
        models[UNNAMED] = Model(provider="reverse")
    names = sorted(models, key=lambda name: name != policy.default)
    return {"models": [_entry(name, models[name], n) for n, name in enumerate(names, 1)]}


def merged(
    catalog: dict[str, Any], bundled: Iterable[dict[str, Any]], wanted: Iterable[str]
) -> dict[str, Any]:
    """``catalog`` with those of Codex's own models that are ``wanted``, behind the policy's.

    A name that the policy has, too, is the policy's. KeyError names one that Codex does not have.
    """
    listed = list(catalog["models"])
    known = {entry["slug"]: entry for entry in bundled}
    taken = {entry["slug"] for entry in listed}
    for name in wanted:
        if name in taken:
            continue
        listed.append({**known[name], "priority": len(listed) + 1})
        taken.add(name)
    return {"models": listed}


def models_of(policy: Policy) -> dict[str, Model]:
    """Every name of ``policy`` that a client may ask for at this moment; the virtual one can what
    all its candidates can, and sees images where one of them does."""
    auto, models = policy.auto, offered(policy)
    if auto is None:
        return models
    known = [policy.models[c.model] for c in auto.candidates if c.model in policy.models]
    virtual = Model(
        provider="auto",
        context_window=min((m.context_window for m in known), default=128_000),
        compact_at=min((m.compact_at for m in known if m.compact_at), default=None),
        images=any(m.images for m in known),
        description="Picks the cheapest model that is up to the task",
    )
    return {**models, auto.name: virtual}


def etag(catalog: dict[str, Any]) -> str:
    """The ``ETag`` header value of a catalog, quotes included: the same list, the same tag."""
    text = json.dumps(catalog, sort_keys=True, ensure_ascii=False)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


@cache
def base_instructions() -> str:
    """The instructions Codex puts at the head of each request, in its first developer message."""
    return (Path(__file__).parent / "instructions.md").read_text(encoding="utf-8")


def _entry(name: str, model: Model, priority: int) -> dict[str, Any]:
    return {
        "slug": name,
        "display_name": name,
        "description": model.description or _behind(name, model),
        "supported_reasoning_levels": [
            {"effort": effort, "description": _EFFORTS.get(effort, "")}
            for effort in model.reasoning
        ],
        "default_reasoning_level": _usual_effort(model.reasoning),
        "default_reasoning_summary": "auto",
        "supports_reasoning_summary_parameter": True,
        "base_instructions": base_instructions(),
        "context_window": model.context_window,
        "max_context_window": model.context_window,
        # Without it, Codex compacts at nine tenths of the window.
        "auto_compact_token_limit": model.compact_at,
        "input_modalities": ["text", "image"] if model.images else ["text"],
        "apply_patch_tool_type": "freeform",
        "shell_type": "unified_exec",
        "truncation_policy": {"mode": "tokens", "limit": TOOL_OUTPUT_TOKENS},
        "experimental_supported_tools": [],
        "supports_search_tool": False,
        "use_responses_lite": False,
        "support_verbosity": False,
        "visibility": "list",
        "supported_in_api": True,
        "priority": priority,
        # Codex before 0.169 insists on these; later versions ignore them.
        "supports_reasoning_summaries": True,
        "supports_parallel_tool_calls": True,
    }


def _behind(name: str, model: Model) -> str:
    upstream = model.model or (name.partition(":")[2] or None)
    return f"{upstream} at {model.provider}" if upstream else f"The provider {model.provider}"


def _usual_effort(efforts: list[str]) -> str | None:
    if "medium" in efforts or not efforts:
        return "medium" if efforts else None
    return efforts[len(efforts) // 2]
