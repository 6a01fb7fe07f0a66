"""Proper calls with broken arguments: mended before the client acts on them.

The pieces flow on as they come; at the end the whole arguments follow where they had to be changed.
What a token limit cut off is never completed: the call becomes one that fails and says why.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..tools.bridge import Bridge, Bridged
from ..turn import CallDelta, CallStart, CallWhole, Event, Failure, Finish
from .arguments import mend
from .codex import find, runs_or_edits, translate
from .dialects.base import dumps
from .fit import Misfit, fit

CUT_OFF = (
    "This call was cut off by the token limit before its arguments were whole. Nothing was run or "
    "changed. Call again with less at once: a shorter command, or several smaller patches."
)


class NativeCalls:
    """Looks after the calls of one answer. ``note`` hears of each repair."""

    def __init__(self, bridge: Bridge, note: Callable[[str], None]) -> None:
        self._bridge = bridge
        self._note = note
        self._calls: dict[int, tuple[str, list[str]]] = {}

    def names(self, events: list[Event]) -> list[Event]:
        """``events`` with tools under names that are offered, where one is nearly that."""
        if not any(type(e) is CallStart for e in events):
            return events
        return [self._named(e) if isinstance(e, CallStart) else e for e in events]

    def _named(self, event: CallStart) -> CallStart:
        offered = self._bridge.offered
        if event.name in offered:
            return event
        tool = find(event.name, offered)
        if tool is None:
            return event
        self._note(f"a call of {event.name[:80]} taken for {tool.flat}")
        return msgspec.structs.replace(event, name=tool.flat)

    def arguments(self, events: list[Event]) -> list[Event]:
        """``events``, with whole arguments behind those that were no good."""
        if not self._calls and not any(type(e) is CallStart for e in events):
            return events
        out: list[Event] = []
        for event in events:
            if isinstance(event, CallStart):
                self._calls[event.key] = (event.name, [])
            elif isinstance(event, CallDelta) and event.key in self._calls:
                self._calls[event.key][1].append(event.arguments)
            elif isinstance(event, Finish):
                out += self._whole(event.reason == "length")
            elif isinstance(event, Failure):
                self._calls.clear()
            out.append(event)
        return out

    def _whole(self, cut: bool) -> list[Event]:
        out: list[Event] = []
        for number, (key, (name, pieces)) in enumerate(self._calls.items()):
            tool = self._bridge.offered.get(name)
            text = "".join(pieces)
            if tool is None or tool.kind == "answer" or not text.strip():
                continue
            last = number == len(self._calls) - 1
            made = self._mended(tool, text, cut and last)
            if made is not None:
                out.append(CallWhole(key, made))
        self._calls.clear()
        return out

    def _mended(self, tool: Bridged, text: str, cut: bool) -> str | None:
        """Better arguments for ``tool``; None where these are as good as can be."""
        mended = mend(text)
        if mended is None or mended.how:
            if tool.kind == "custom" and not text.lstrip().startswith("{"):
                return None
            if cut:
                self._note(f"a call of {tool.flat} cut off by the token limit is not run")
                return dumps({"input" if tool.kind == "custom" else "cut_off": CUT_OFF})
            if mended is None or (mended.cut and runs_or_edits(tool)):
                return None
        given = translate(tool, mended.value)
        if given == mended.value and not mended.how and _fits(tool, given):
            return None
        try:
            made = fit(given, tool.parameters, loose=True)
        except Misfit:
            made = given if mended.how else None
        if not isinstance(made, dict):
            return None
        if dumps(made) == dumps(mended.value) and not mended.how:
            return None
        self._note(f"the arguments of {tool.flat} mended" + (f": {mended.how}" * bool(mended.how)))
        return dumps(made)


def _fits(tool: Bridged, given: object) -> bool:
    try:
        # As JSON, since 5.0 is 5 to Python and none to who wants a whole number.
        return dumps(fit(given, tool.parameters, loose=True)) == dumps(given)
    except Misfit:
        return False
