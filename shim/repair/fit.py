"""Whether arguments fit a tool's schema, and how those that nearly do are made to.

Of JSON Schema this knows what tools' parameters use: type, properties, required, enum, const,
items, additionalProperties, anyOf, oneOf, allOf, minimum, maximum and references within the schema.
"""

from __future__ import annotations

import json
from typing import Any

_DEPTH = 24
_WORDS = {"true": True, "false": False}


class Misfit(Exception):
    """Why arguments do not fit, in a few words."""


def fit(value: Any, schema: Any, *, loose: bool = False) -> Any:
    """``value`` as ``schema`` wants it. Misfit where it can only be guessed. ``loose``: arguments
    that the schema does not name may stay."""
    return _fit(value, schema, schema, "arguments", loose, 0)


def _fit(value: Any, schema: Any, root: Any, at: str, loose: bool, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _DEPTH:
        return value
    if isinstance(schema.get("$ref"), str):
        schema = _follow(schema["$ref"], root)
        return _fit(value, schema, root, at, loose, depth + 1)
    for word in ("anyOf", "oneOf"):
        if options := schema.get(word):
            value = _any(value, options, root, at, loose, depth)
    for part in schema.get("allOf") or ():
        value = _fit(value, part, root, at, loose, depth + 1)
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    if kinds:
        value = _typed(value, kinds, at)
    if "enum" in schema and value not in schema["enum"]:
        raise Misfit(f"{at} is none of the values it may have")
    if "const" in schema and value != schema["const"]:
        raise Misfit(f"{at} is not what it must be")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum"), schema.get("maximum")
        if isinstance(low, int | float) and value < low:
            raise Misfit(f"{at} is below {low}")
        if isinstance(high, int | float) and value > high:
            raise Misfit(f"{at} is above {high}")
    if isinstance(value, dict):
        return _object(value, schema, root, at, loose, depth)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        items = schema["items"]
        return [_fit(v, items, root, f"{at}[{n}]", loose, depth + 1) for n, v in enumerate(value)]
    return value


def _follow(name: str, root: Any) -> Any:
    found = root
    if not name.startswith("#"):
        return None
    for part in name.lstrip("#/").split("/") if name != "#" else ():
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _any(value: Any, options: Any, root: Any, at: str, loose: bool, depth: int) -> Any:
    if not isinstance(options, list):
        return value
    # What fits as it is goes before what would have to be changed.
    changed: list[Any] = []
    for option in options:
        try:
            made = _fit(value, option, root, at, loose, depth + 1)
        except Misfit:
            continue
        if made == value and type(made) is type(value):
            return made
        changed.append(made)
    if not changed:
        raise Misfit(f"{at} fits none of its forms")
    return changed[0]


def _object(
    value: dict[str, Any], schema: dict[str, Any], root: Any, at: str, loose: bool, depth: int
) -> dict[str, Any]:
    known = schema.get("properties")
    known = known if isinstance(known, dict) else {}
    more = schema.get("additionalProperties")
    made: dict[str, Any] = {}
    for key, item in value.items():
        if key in known:
            made[key] = _fit(item, known[key], root, f"{at}.{key}", loose, depth + 1)
        elif isinstance(more, dict):
            made[key] = _fit(item, more, root, f"{at}.{key}", loose, depth + 1)
        elif more is False or (known and more is None and not loose):
            raise Misfit(f"{at} has no {key}")
        else:
            made[key] = item
    for key in schema.get("required") or ():
        if key not in made:
            raise Misfit(f"{at} lacks {key}")
    return made


def _typed(value: Any, kinds: list[Any], at: str) -> Any:
    for kind in kinds:
        if _is(value, kind):
            return value
    for kind in kinds:
        made = _become(value, kind)
        if made is not None:
            return made
    if "null" in kinds and isinstance(value, str) and value.strip() in ("null", "None"):
        return None
    raise Misfit(f"{at} is no {' or '.join(map(str, kinds))}")


def _is(value: Any, kind: Any) -> bool:
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    types: dict[Any, type] = {"string": str, "boolean": bool, "array": list, "object": dict}
    if kind in types:
        return isinstance(value, types[kind])
    return value is None if kind == "null" else True


def _become(value: Any, kind: Any) -> Any:
    """``value`` as ``kind``, where nothing is lost by it; else None."""
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind == "string":
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if isinstance(value, int | float) else None
    if not isinstance(value, str):
        return None
    if kind == "boolean":
        return _WORDS.get(value.strip().lower())
    if kind in ("integer", "number", "array", "object"):
        try:
            made = json.loads(value)
        except ValueError:
            return None
        if kind == "integer" and isinstance(made, float) and made.is_integer():
            made = int(made)
        return made if _is(made, kind) else None
    return None
