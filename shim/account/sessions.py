"""Sessions in numbers, from the rows of recorded exchanges: what ``interpose stats`` shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from .bill import Account


class Turns(msgspec.Struct):
    """One session: its turns' accounts, in order."""

    name: str
    models: list[str] = []
    accounts: list[Account] = []
    failed: int = 0

    def total(self, field: str) -> float:
        """The sum of one field over all turns."""
        return sum(getattr(account, field) or 0 for account in self.accounts)

    @property
    def dollars(self) -> float | None:
        """What it cost, where every turn's price is known."""
        known = [a.dollars for a in self.accounts]
        return sum(d for d in known if d is not None) if known and None not in known else None

    @property
    def counted_by(self) -> str:
        """Who counted the tokens, by name."""
        return ", ".join(sorted({account.counted_by for account in self.accounts}))


def sessions(rows: Iterable[Mapping[str, Any]]) -> list[Turns]:
    """The sessions in ``rows``, the one with most turns first."""
    found: dict[str, Turns] = {}
    for row in rows:
        name = str(row.get("thread") or row.get("session") or "(no thread named)")
        turns = found.setdefault(name, Turns(name))
        told = row.get("account")
        if told is None:
            turns.failed += 1
            continue
        turns.accounts.append(msgspec.convert(told, Account))
        target = row.get("route") or {}
        model = f"{target.get('provider')}/{target.get('model')}"
        if model not in turns.models:
            turns.models.append(model)
    return sorted(found.values(), key=lambda t: -len(t.accounts))


def summed(found: Iterable[Turns]) -> Turns:
    """All of them as one."""
    whole = Turns("all")
    for turns in found:
        whole.accounts += turns.accounts
        whole.failed += turns.failed
        whole.models += [m for m in turns.models if m not in whole.models]
    return whole


def as_json(turns: Turns) -> dict[str, Any]:
    """One session as plain fields."""
    fields = ("input", "cached", "written", "output", "saved", "spared", "billed")
    return {
        "session": turns.name,
        "models": turns.models,
        "turns": len(turns.accounts),
        "failed": turns.failed,
        **{name: round(turns.total(name)) for name in fields},
        "dollars": turns.dollars,
        "counted_by": turns.counted_by,
        "per_turn": [msgspec.to_builtins(a) for a in turns.accounts],
    }
