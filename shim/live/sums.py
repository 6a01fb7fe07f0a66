"""What the chain has come to since it started, and does now: for ``interpose top``, the dashboard.

Sums are kept as turns end: a look at them costs the same after ten thousand turns as after ten.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from .tables import lasting

#: Sessions that are kept apart, those with the latest turns; older ones are in the totals only.
MOST_SESSIONS = 100
#: Turns of a session that can be plotted, the latest.
MOST_TURNS = 200
#: Names come from clients and providers: so many characters of one are kept.
_LONGEST = 200
_SUMS = ("input", "cached", "saved", "spared", "billed", "output")


class Session(msgspec.Struct):
    """One session in sums; ``dollars`` is None as soon as one turn's price is not known."""

    session: str
    models: list[str] = []
    turns: int = 0
    errors: int = 0
    input: float = 0
    cached: float = 0
    saved: float = 0
    spared: float = 0
    billed: float = 0
    output: float = 0
    dollars: float | None = None
    error: str | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        """One more ended exchange."""
        if row.get("error"):
            self.errors += 1
            self.error = short(row["error"])
        told = row.get("account")
        if told is None:
            return
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + told[name])
        known = told["dollars"] is not None and (self.dollars is not None or not self.turns)
        self.dollars = (self.dollars or 0) + told["dollars"] if known else None
        self.turns += 1
        target = row.get("route") or {}
        model = short(f"{target.get('provider')}/{target.get('model')}")
        if model not in self.models and len(self.models) < MOST_SESSIONS:
            self.models.append(model)


class Live:
    """The sums of a chain; ``add`` takes the row of each exchange as it ends."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._started = clock()
        self._all = Session("all")
        self._seen = 0
        self._of: OrderedDict[str, tuple[Session, deque[dict[str, Any]]]] = OrderedDict()

    def add(self, row: Mapping[str, Any]) -> None:
        """Count an ended exchange. One that neither cost nor failed (a token count) is no turn."""
        told = row.get("account")
        if told is None and not row.get("error"):
            return
        name = session_name(row.get("thread"), row.get("session"))
        if name not in self._of:
            self._seen += 1
            self._of[name] = (Session(name), deque(maxlen=MOST_TURNS))
        self._of.move_to_end(name)
        if len(self._of) > MOST_SESSIONS:
            self._of.popitem(last=False)
        session, turns = self._of[name]
        session.add(row)
        self._all.add(row)
        # Every model ever used would be a list without an end.
        self._all.models.clear()
        if told is not None:
            numbers = {key: told[key] for key in ("input", "cached", "saved", "billed", "output")}
            full = max(0, told["input"] - told["cached"])
            turns.append({"turn": session.turns, "full": full, **numbers})

    def page(self, under_way: int, about: Iterable[tuple[str, str]], chosen: str) -> dict[str, Any]:
        """All of it as plain fields, and the turns of the session ``chosen`` (the latest's, if "").

        ``about`` is what else there is to say of the chain, as pairs of a name and a sentence.
        """
        asked, chosen = bool(chosen), short(chosen or next(reversed(self._of), ""))
        turns = self._of[chosen][1] if chosen in self._of else ()
        seconds = self._clock() - self._started
        says = [("running for", lasting(seconds)), *about]
        totals = {"sessions": self._seen, "under_way": under_way, **msgspec.to_builtins(self._all)}
        return {
            "seconds": round(seconds, 1),
            "chain": [{"what": what, "says": short(said, 1000)} for what, said in says],
            "totals": totals,
            "sessions": [msgspec.to_builtins(s) for s, _ in reversed(self._of.values())],
            "turns": {"session": chosen, "asked": asked, "rows": list(turns)},
        }


def session_name(thread: object, session: object) -> str:
    """What a session is called: as ``interpose stats`` calls it."""
    return short(thread or session or "(no thread named)")


def short(told: object, longest: int = _LONGEST) -> str:
    """``told`` on one line, cut where it is too long to be a name."""
    text = " ".join(str(told).split())
    return text if len(text) <= longest else f"{text[:longest]}…"


def about(page: Mapping[str, Any], *, records: bool) -> list[tuple[str, str]]:
    """What ``/health`` says in its own fields, as sentences: policy, recording, providers."""
    policy, recording = page["policy"], page["recording"]
    says = [("status", str(page["status"]))]
    file = policy["file"] or "none"
    wrong = f"{file}, whose latest change is not in force: {policy['error']}"
    says.append(("policy", wrong if policy["error"] else file))
    if recording["error"]:
        state = f"failing: {recording['error']}"
    elif not records:
        state = "off"
    else:
        state = f"on, to {recording['file']}" if recording["file"] else "on, nothing recorded yet"
    says.append(("recording", state))
    unwell = page.get("providers") or {}
    says += [(f"provider {name}", f"not well, {why}") for name, why in unwell.items()]
    return says if unwell else [*says, ("providers", "none is known to be down")]
