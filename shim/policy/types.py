"""Data against the types of `schema.py`: every problem with its place, not only the first."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from .read import Where
from .variables import meant

Tell = Callable[[Where, str], None]
_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def check_type(data: Any, kind: Any, tell: Tell) -> None:
    """Tell all that keeps ``data`` from being a ``kind``."""
    _walk(data, _info(kind), (), tell)


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of an error sentence that names what was probably meant, or what may stand here."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, 1, 0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; valid: {', '.join(names)}" if names else ""


def kind_of(value: Any) -> str:
    """What a value is, in plain words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds = {dict: "a mapping", list: "a list", str: "text", type(None): "empty"}
    return kinds.get(type(value), f"{value!r}")


@cache
def _info(kind: Any) -> inspect.Type:
    return _bare(inspect.type_info(kind))


def _bare(kind: inspect.Type) -> inspect.Type:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind


def _walk(value: Any, kind: inspect.Type, where: Where, tell: Tell) -> None:
    kind = _bare(kind)
    if isinstance(kind, inspect.UnionType):
        _union(value, kind, where, tell)
    elif isinstance(kind, inspect.StructType):
        _struct(value, kind, where, tell)
    elif isinstance(kind, inspect.DictType):
        if not isinstance(value, dict):
            tell(where, f"must be a mapping, is {kind_of(value)}")
            return
        for name, entry in value.items():
            _walk(entry, kind.value_type, (*where, name), tell)
    elif isinstance(kind, inspect.ListType):
        if not isinstance(value, list):
            tell(where, f"must be a list, is {kind_of(value)}")
            return
        for number, entry in enumerate(value):
            _walk(entry, kind.item_type, (*where, number), tell)
    elif isinstance(kind, inspect.LiteralType):
        if value not in kind.values or isinstance(value, bool):
            _choice(value, [str(v) for v in kind.values], where, tell)
    else:
        _plain(value, kind, where, tell)


def _choice(value: Any, names: list[str], where: Where, tell: Tell) -> None:
    given = f"{value!r}" if isinstance(value, str) else kind_of(value)
    close = nearest(value, names) if isinstance(value, str) else ""
    hint = close if "mean" in close else ""
    tell(where, f"must be one of {', '.join(names)}, is {given}{hint}")


def _plain(value: Any, kind: inspect.Type, where: Where, tell: Tell) -> None:
    wanted, types = _wanted(kind)
    fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
    if not fits:
        hint = "; put it in quotes" if wanted == "text" and isinstance(value, int | float) else ""
        # What YAML makes of {env:NAME}.
        variable = meant(f"{{{next(iter(value))}}}") if isinstance(value, dict) and value else None
        if wanted == "text" and variable:
            hint = f"; for the value of {variable[1]} write ${{{variable[1]}}}"
        tell(where, f"must be {wanted}, is {kind_of(value)}{hint}")
        return
    if isinstance(value, float) and not math.isfinite(value):
        tell(where, f"must be {wanted}, is {value}")
        return
    for name, words, holds in (
        ("ge", "at least", lambda a, b: a >= b),
        ("gt", "more than", lambda a, b: a > b),
        ("le", "at most", lambda a, b: a <= b),
        ("lt", "less than", lambda a, b: a < b),
    ):
        bound = getattr(kind, name, None)
        if bound is not None and not holds(value, bound):
            tell(where, f"must be {words} {bound:g}, is {value}")


def _wanted(kind: inspect.Type) -> tuple[str, tuple[type, ...]]:
    if isinstance(kind, inspect.BoolType):
        return "true or false", (bool,)
    if isinstance(kind, inspect.IntType):
        return "a whole number", (int,)
    if isinstance(kind, inspect.FloatType):
        return "a number", (int, float)
    if isinstance(kind, inspect.NoneType):
        return "empty", (type(None),)
    return "text", (str,)


def _struct(value: Any, kind: inspect.StructType, where: Where, tell: Tell) -> None:
    if not isinstance(value, dict):
        tell(where, f"must be a mapping, is {kind_of(value)}")
        return
    fields = {field.encode_name: field for field in kind.fields}
    for name, entry in value.items():
        field = fields.get(name)
        if field is None:
            tell((*where, name), f"unknown field{nearest(name, fields)}")
        else:
            _walk(entry, field.type, (*where, name), tell)
    for name, field in fields.items():
        if field.required and name not in value:
            tell(where, f"the field {name} is missing")


def _union(value: Any, union: inspect.UnionType, where: Where, tell: Tell) -> None:
    """The member that is meant; where none is, all that may stand here."""
    kinds = [_bare(kind) for kind in union.types]
    for kind in kinds:
        if _meant(value, kind):
            _walk(value, kind, where, tell)
            return
    words = [_word(kind) for kind in kinds if not isinstance(kind, inspect.NoneType)]
    tell(where, f"must be {' or '.join(dict.fromkeys(words))}, is {kind_of(value)}")


def _meant(value: Any, kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.StructType | inspect.DictType):
        return isinstance(value, dict)
    if isinstance(kind, inspect.ListType):
        return isinstance(value, list)
    if isinstance(kind, inspect.LiteralType):
        return isinstance(value, str)
    types = _wanted(kind)[1]
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _word(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.StructType | inspect.DictType):
        return "a mapping"
    if isinstance(kind, inspect.ListType):
        return "a list"
    if isinstance(kind, inspect.LiteralType):
        return "one of " + ", ".join(map(str, kind.values))
    return _wanted(kind)[0]


def field_names(kind: type[msgspec.Struct]) -> list[str]:
    """The names of a type's fields as a policy writes them."""
    return [field.encode_name for field in msgspec.structs.fields(kind)]
