"""What is wrong with a running chain, read off its ``/health``, each with the next step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .sums import short

#: Providers that are named.
_MOST = 5
_LONGEST = 400


class Trouble(msgspec.Struct, frozen=True):
    """A sentence's end behind the chain's name, and what to do about it."""

    what: str
    step: str


def troubles(page: Mapping[str, Any]) -> list[Trouble]:
    """What ``page`` tells, the gravest first; it may be another version's."""
    policy, recording = _table(page, "policy"), _table(page, "recording")
    file = short(policy.get("file") or "the policy")
    rows = []
    if error := policy.get("error"):
        what = f"keeps an older policy: {short(error, _LONGEST)}"
        step = f"correct {file}; it counts from the next request on"
        rows.append(Trouble(what, step))
    if error := recording.get("error"):
        what = f"does not record: {short(error, _LONGEST)}"
        rows.append(Trouble(what, "`interpose doctor` looks at the folder and the room left"))
    if error := _table(page, "client_keys").get("error"):
        what = f"keeps older client keys: {short(error, _LONGEST)}"
        rows.append(Trouble(what, "put a file there that it can read, with the keys that count"))
    if policy.get("file") and policy.get("models") == [] and not policy.get("default"):
        what = "knows no model by name: its policy lists none and has no default"
        rows.append(Trouble(what, f"name one under models and default of {file}"))
    for name, why in list(_table(page, "providers").items())[:_MOST]:
        what = f"finds the provider {short(name)} not well: {short(why, _LONGEST)}"
        step = "wait, or see whether it can be reached: `interpose doctor --online`"
        rows.append(Trouble(what, step))
    return rows


def _table(page: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = page.get(name)
    return value if isinstance(value, Mapping) else {}
