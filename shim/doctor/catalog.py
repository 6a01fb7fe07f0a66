"""The model catalog file that ``config.toml`` names: one bad entry, and Codex does not start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .finding import Finding, Section

#: What an entry must have, and of which type. Codex takes no null here.
_REQUIRED: dict[str, type | tuple[type, ...]] = {
    "slug": str,
    "display_name": str,
    "supported_reasoning_levels": list,
    "shell_type": str,
    "visibility": str,
    "supported_in_api": bool,
    "priority": int,
    "support_verbosity": bool,
    "truncation_policy": dict,
    "experimental_supported_tools": list,
}
_FIX = "`interpose home` writes a good one; Codex does not start with this one"


def catalog(raw: bytes | None, path: Path, model: str, reason: str = "") -> list[Finding]:
    """What is wrong with the catalog ``raw`` for a Codex that asks for ``model``.

    ``reason`` says why it cannot be read, where it cannot.
    """
    section = Section("Catalog")
    if raw is None:
        section.fail(f"{path} {reason or 'is not there'}", f"correct model_catalog_json; {_FIX}")
        return section.found
    entries = _entries(section, raw, path)
    for number, entry in enumerate(entries):
        if said := _wrong(entry):
            name = entry.get("slug") if isinstance(entry, dict) else None
            section.fail(f"{path}: entry {number + 1} ({name or 'no slug'}): {said}", _FIX)
            break
    if section.found:
        return section.found
    known = {entry["slug"]: entry for entry in entries}
    mine = _entry_of(known, model)
    if model and mine is None:
        section.warn(
            f"{path} has no entry for {model}: Codex guesses its context window and tools",
            "name a model of the catalog, or write it anew: `interpose home --model NAME`",
        )
    elif mine is not None and not mine.get("context_window"):
        section.warn(
            f"{path}: {mine['slug']} has no context_window, so Codex never compacts",
            "add one, in tokens",
        )
    else:
        section.ok(f"{path}: {len(entries)} models")
    return section.found


def _entries(section: Section, raw: bytes, path: Path) -> list[Any]:
    if raw.startswith(b"\xef\xbb\xbf"):
        section.fail(f"{path} begins with a byte order mark, which Codex refuses", _FIX)
        return []
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as e:
        said = str(e) if isinstance(e, json.JSONDecodeError) else "not JSON that can be read"
        section.fail(f"{path}: {said}", _FIX)
        return []
    entries = data.get("models") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not entries:
        section.fail(f"{path} holds no list models with at least one model", _FIX)
        return []
    return entries


def _wrong(entry: Any) -> str:
    if not isinstance(entry, dict):
        return "is no object"
    for name, kind in _REQUIRED.items():
        value = entry.get(name)
        # For Python a bool is an int as well.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            return f"{name} is missing" if name not in entry else f"{name} is of the wrong type"
    if not isinstance(entry.get("base_instructions"), str) and not entry.get("model_messages"):
        return "base_instructions is missing"
    if entry.get("apply_patch_tool_type") not in (None, "freeform"):
        return "apply_patch_tool_type may only be freeform"
    return ""


def _entry_of(known: dict[str, dict[str, Any]], model: str) -> dict[str, Any] | None:
    """As Codex looks: the exact name, a slug it begins with, the same without ``vendor/``."""
    for name in (model, model.partition("/")[2]):
        if name in known:
            return known[name]
        if found := [slug for slug in known if slug and name.startswith(slug)]:
            return known[max(found, key=len)]
    return None
