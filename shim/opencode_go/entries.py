"""The policy entries for what was found: one provider per endpoint, one model per id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from .answers import PROTOCOLS, Judged, Protocol, Stop

PROVIDERS: dict[Protocol, str] = {"chat": "ocgo", "messages": "ocgo-messages"}


class Made(msgspec.Struct):
    """The entries by section, and what there is to tell: ``kept`` as they were since it could not
    be found out, and ``left`` out, by id and why."""

    sections: dict[str, dict[str, dict[str, Any]]]
    kept: dict[str, str] = {}
    left: dict[str, str] = {}


def name_of(id: str) -> str:
    """What clients ask for; a colon would name a provider."""
    return "ocgo-" + re.sub(r"[/:@+]", "-", id)


def entries(
    ids: list[str],
    found: Mapping[tuple[str, Protocol], Judged],
    before: Mapping[str, Mapping[str, Any]],
    prefer: Protocol,
    base_url: str,
    key_env: str,
) -> Made:
    """The entries for ``ids``; ``before`` are the model entries of the last time.

    A model that answers at both endpoints gets ``prefer``. Stop when none answers anywhere.
    """
    made = Made({"providers": {}, "models": {}})
    order = sorted(PROTOCOLS, key=lambda protocol: protocol != prefer)
    for id in ids:
        name = name_of(id)
        judged = {protocol: found[id, protocol] for protocol in order}
        unsure = {p for p in order if judged[p].verdict == "unknown"}
        before_at = _protocol(before.get(name), id)
        at = next((p for p in order if judged[p].verdict == "yes"), None)
        if before_at in unsure and (at is None or before_at == prefer):
            at = before_at
            made.kept[id] = judged[at].why
        if at is None:
            made.left[id] = next(judged[p].why for p in order if p in unsure or not unsure)
        elif name in made.sections["models"]:
            made.left[id] = f"another model is called {name}, too"
        else:
            made.sections["models"][name] = {
                "provider": PROVIDERS[at],
                "model": id,
                # The list does not say who sees them; one that does not would end every later turn.
                "images": False,
            }
    models = made.sections["models"]
    if not models:
        raise Stop(f"none of its {len(ids)} models answers ({next(iter(made.left.values()))})")
    used = {entry["provider"] for entry in models.values()}
    for protocol in PROTOCOLS:
        if PROVIDERS[protocol] in used:
            said = {} if protocol == "chat" else {"protocol": protocol}
            made.sections["providers"][PROVIDERS[protocol]] = {
                "base_url": base_url,
                **said,
                "key": f"${{{key_env}}}",
            }
    return made


def _protocol(entry: Mapping[str, Any] | None, id: str) -> Protocol | None:
    if not entry or entry.get("model") != id:
        return None
    return next((p for p, name in PROVIDERS.items() if name == entry.get("provider")), None)
