"""Sizes, amounts and times as people write them in a policy."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
_SIZES = {"": 1, "b": 1, "kb": 1024, "mb": 1024**2}
_AMOUNTS = {"": 1, "k": 1000, "m": 1_000_000}
_TIMES = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def size(value: int | str) -> int:
    """Bytes: 20000, ``20kb``, ``1.5mb``. ValueError with a sentence otherwise."""
    return int(_read(value, _SIZES, "a size such as 20kb"))


def amount(value: int | str) -> int:
    """A number of tokens: 50000, ``50k``, ``2M``. ValueError with a sentence otherwise."""
    return int(_read(value, _AMOUNTS, "a number such as 50000, 50k or 2M"))


def seconds(value: int | str) -> float:
    """Seconds: 30, ``30s``, ``10m``, ``2h``, ``1d``. ValueError with a sentence otherwise."""
    return _read(value, _TIMES, "a time such as 30s, 10m or 2h")


def _read(value: int | str, units: dict[str, int], wanted: str) -> float:
    found = _NUMBER.fullmatch(str(value).strip())
    if found is None or found[2].lower() not in units:
        raise ValueError(f"must be {wanted}, is {value!r}")
    return float(found[1]) * units[found[2].lower()]
