"""A call of a tool that was never offered is no call: the client gets it as text."""

from __future__ import annotations

import msgspec

from ..turn import CallDelta, CallStart, Event, Finish, Text
from .bridge import Bridge


class Offered:
    """Passes an answer's events on; what calls a tool nobody offered becomes a sentence."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._strange: dict[int, tuple[str, list[str]]] = {}
        self._calls = 0

    def filter(self, events: list[Event]) -> list[Event]:
        """``events`` with strange calls held until the answer ends."""
        if not self._strange and not any(type(e) is CallStart for e in events):
            return events
        out: list[Event] = []
        for event in events:
            if isinstance(event, CallStart):
                if event.name in self._bridge.offered:
                    self._calls += 1
                else:
                    self._strange[event.key] = (event.name, [])
                    continue
            elif isinstance(event, CallDelta) and event.key in self._strange:
                self._strange[event.key][1].append(event.arguments)
                continue
            elif isinstance(event, Finish) and self._strange:
                out += [
                    Text(f"[called {name}, a tool that is not offered here: {''.join(said)}]")
                    for name, said in self._strange.values()
                ]
                if event.reason == "tool_calls" and not self._calls:
                    event = msgspec.structs.replace(event, reason="stop")
            out.append(event)
        return out
