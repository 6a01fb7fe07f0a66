"""What the chain has come to since it started, and does now: for ``interpose top``, the dashboard.

Sums are kept as turns end: a look at them costs the same after ten thousand turns as after ten.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from ..shown import plain
from .tables import lasting

#: Sessions that are kept apart, those with the latest turns; older ones are in the totals only.
MOST_SESSIONS = 100
#: Turns that can be plotted, the latest: of a session, and of all together.
MOST_TURNS = 200
#: Minutes that can be plotted.
MOST_MINUTES = 60
#: Models of a session that are named.
_MOST_MODELS = 10
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

    def add(self, row: Mapping[str, Any], model: str) -> None:
        """One more ended exchange; a turn is one that was answered."""
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
        if model and model not in self.models and len(self.models) < _MOST_MODELS:
            self.models.append(model)


class Live:
    """The sums of a chain; ``add`` takes the row of each exchange as it ends."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._started = clock()
        self._all = Session("")
        self._seen = 0
        self._of: OrderedDict[str, tuple[Session, deque[dict[str, Any]]]] = OrderedDict()
        self._latest: deque[dict[str, Any]] = deque(maxlen=MOST_TURNS)
        self._minutes: deque[list[int]] = deque(maxlen=MOST_MINUTES)

    def add(self, row: Mapping[str, Any], hide: Callable[[str], str] = str) -> None:
        """Count an ended exchange; ``hide`` takes keys out of a name.

        One that neither cost nor failed (a token count) is no turn.
        """
        told = row.get("account")
        if told is None and not row.get("error"):
            return
        name = session_name(row.get("thread"), row.get("session"), hide)
        if name not in self._of:
            self._seen += 1
            self._of[name] = (Session(name), deque(maxlen=MOST_TURNS))
        self._of.move_to_end(name)
        if len(self._of) > MOST_SESSIONS:
            self._of.popitem(last=False)
        session, turns = self._of[name]
        target = row.get("route") or {}
        model = short(hide(f"{target['provider']}/{target['model']}")) if target else ""
        session.add(row, model)
        self._all.add(row, "")
        self._tick(failed=bool(row.get("error")))
        if told is not None:
            numbers = {key: told[key] for key in ("input", "cached", "saved", "billed", "output")}
            full = max(0, told["input"] - told["cached"])
            turns.append({"session": name, "turn": session.turns, "full": full, **numbers})
            self._latest.append(turns[-1])

    def _tick(self, *, failed: bool) -> None:
        minute = int(self._clock() // 60)
        # A clock may be set back.
        if not self._minutes or self._minutes[-1][0] < minute:
            self._minutes.append([minute, 0, 0])
        self._minutes[-1][1 + failed] += 1

    def page(self, under_way: int, about: Iterable[tuple[str, str]], chosen: str) -> dict[str, Any]:
        """All of it as plain fields, and the turns of the session ``chosen`` (of all, if "").

        ``about`` is what else there is to say of the chain, as pairs of a name and a sentence.
        """
        chosen = short(chosen)
        turns = self._of[chosen][1] if chosen in self._of else () if chosen else self._latest
        now = self._clock()
        seconds, minute = max(0.0, now - self._started), int(now // 60)
        says = [("running for", lasting(seconds)), *about]
        sums = msgspec.to_builtins(self._all)
        del sums["session"], sums["models"]
        minutes = [
            {"ago": max(0, minute - at), "answered": answered, "failed": failed}
            for at, answered, failed in reversed(self._minutes)
            if minute - at < MOST_MINUTES
        ]
        return {
            "seconds": round(seconds, 1),
            "chain": [{"what": what, "says": short(said, 1000)} for what, said in says],
            "totals": {"sessions": self._seen, "under_way": under_way, **sums},
            "sessions": [msgspec.to_builtins(s) for s, _ in reversed(self._of.values())],
            "minutes": minutes,
            "turns": {"session": chosen, "rows": list(turns)},
        }


def session_name(thread: object, session: object, hide: Callable[[str], str] = str) -> str:
    """What a session is called: as ``interpose stats`` calls it."""
    return short(hide(str(thread or session or ""))) or "(no thread named)"


def short(told: object, longest: int = _LONGEST) -> str:
    """``told`` on one line of what can be printed, cut where it is too long to be a name."""
    text = plain(" ".join(str(told)[: 4 * longest].split()))
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
    if keys := page.get("client_keys"):
        says.append(("client keys", f"as they were; {keys['error']}"))
    unwell = page.get("providers") or {}
    says += [(f"provider {name}", f"not well, {why}") for name, why in unwell.items()]
    return says if unwell else [*says, ("providers", "none is known to be down")]


def said(page: Mapping[str, Any], errors: int) -> str:
    """How the chain is, in a sentence; a screen reader speaks it whenever it changes."""
    found = [f"Errors: {errors:,}" if errors else "No errors"]
    if page["policy"]["error"]:
        found.append("the policy's latest change is not in force")
    if page["recording"]["error"]:
        found.append("recording fails")
    if page.get("client_keys"):
        found.append("the client keys' latest change is not in force")
    found += [f"provider {short(name)} is not well" for name in page.get("providers") or {}]
    return "; ".join(found) + "."
