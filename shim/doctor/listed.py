"""The models a provider lists, and which of those that the policy names are not among them.

Lists are not whole everywhere: dated names stand for aliases, and variants are not listed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ..policy.schema import Policy

#: A dated version of a model, whose name without it is an alias.
_DATED = re.compile(r"-(?:\d{8}|\d{4}-\d\d-\d\d|\d{4}|latest)$")
_FEW = 6


def names(raw: bytes) -> list[str] | None:
    """The ids in a model list: OpenAI's and Anthropic's, Codex's, or a bare list; None when it is
    none, or only the first page of one."""
    try:
        data = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    rows: Any = data
    if isinstance(data, dict):
        if data.get("has_more"):
            return None
        rows = data.get("data", data.get("models"))
        if rows is None and data.get("object") == "list":
            rows = []
    if not isinstance(rows, list):
        return None
    ids = [_id(row) for row in rows]
    return [id for id in ids if id] if any(ids) or not rows else None


def _id(row: Any) -> str:
    if isinstance(row, str):
        return row
    values = (row.get(name) for name in ("id", "slug", "name")) if isinstance(row, dict) else ()
    return next((value for value in values if isinstance(value, str) and value), "")


def missing(model: str, ids: Sequence[str]) -> str | None:
    """What to say of a ``model`` that is not among ``ids``: the end of a sentence that names the
    nearest. None when it is there, or may be there under another name."""
    known = {id.removeprefix("models/") for id in ids}
    base = model.removeprefix("models/")
    # OpenRouter's variants (x:free) are not listed everywhere; Ollama means x:latest by x.
    if known & {base, f"{base}:latest"} or base.partition(":")[0] in known:
        return None
    undated = _DATED.sub("", base)
    if undated in {_DATED.sub("", id) for id in known}:
        return None
    if near := _nearest(base, sorted(known)):
        return f"; did you mean {near}?"
    if len(known) <= _FEW:
        return f"; it lists {', '.join(sorted(known))}" if known else "; its list is empty"
    return f" among the {len(known)} it lists"


def _nearest(model: str, ids: list[str]) -> str:
    """The id that is most like ``model``, with a vendor before it or not; empty for none."""
    low = {id.lower(): id for id in ids}
    tails: dict[str, str] = {}
    for id in ids:
        tails.setdefault(id.lower().rpartition("/")[2], id)
    name = model.lower()
    tail = name.rpartition("/")[2]
    if same := low.get(name) or tails.get(tail):
        return same
    for known, sought in ((low, name), (tails, tail)):
        if close := difflib.get_close_matches(sought, known, 1, 0.6):
            return known[close[0]]
    return next((id for id in ids if tail in id.lower()), "")


def named(policy: Policy) -> dict[str, dict[str, str]]:
    """Per provider, the models that the policy names there, each with the first place of it."""
    models: dict[str, dict[str, str]] = {}
    for name, model in policy.models.items():
        place = f"models.{name}"
        models.setdefault(model.provider, {}).setdefault(model.model or name, place)
    for place, name in _references(policy):
        head, colon, rest = name.partition(":")
        if colon and rest and name not in policy.models and head in policy.providers:
            models.setdefault(head, {}).setdefault(rest, place)
    return models


def _references(policy: Policy) -> Iterator[tuple[str, str]]:
    """Each place that names a model, listed or as PROVIDER:MODEL."""
    if policy.default:
        yield "default", policy.default
    for name, model in policy.models.items():
        yield from ((f"models.{name}.fallbacks", other) for other in model.fallbacks)
    for number, rule in enumerate(policy.route):
        to = rule.to
        names = [to] if isinstance(to, str) else to
        names = names if isinstance(names, list) else [*names.split, *names.round_robin]
        yield from ((f"route[{number}].to", name) for name in names)
    for number, limit in enumerate(policy.limits):
        if limit.to:
            yield f"limits[{number}].to", limit.to
    if policy.auto:
        yield "auto.classifier", policy.auto.classifier
