"""Calls that are none for the client: of tools nobody offered, and of the one that stands for a
structured answer. It gets them as text."""

from __future__ import annotations

import msgspec

from ..turn import CallDelta, CallStart, Event, Finish, Text
from .bridge import Bridge


class Offered:
    """Passes an answer's events on; what calls a tool nobody offered becomes a sentence, what
    calls the tool of kind ``answer`` becomes the answer's text. ``strange``: the former pass."""

    def __init__(self, bridge: Bridge, *, strange: bool = False) -> None:
        self._bridge = bridge
        self._all = strange
        self._strange: dict[int, tuple[str, list[str]]] = {}
        self._answers: set[int] = set()
        self._calls = 0

    def filter(self, events: list[Event]) -> list[Event]:
        """``events`` with strange calls held until the answer ends."""
        held = self._strange or self._answers
        if not held and not any(type(e) is CallStart for e in events):
            return events
        out: list[Event] = []
        for event in events:
            if isinstance(event, CallStart):
                tool = self._bridge.offered.get(event.name)
                if tool is None and not self._all:
                    self._strange[event.key] = (event.name, [])
                    continue
                if tool and tool.kind == "answer":
                    self._answers.add(event.key)
                    continue
                self._calls += 1
            elif isinstance(event, CallDelta) and event.key in self._answers:
                event = Text(event.arguments)
            elif isinstance(event, CallDelta) and event.key in self._strange:
                self._strange[event.key][1].append(event.arguments)
                continue
            elif isinstance(event, Finish):
                out += [
                    Text(f"[called {name}, a tool that is not offered here: {''.join(said)}]")
                    for name, said in self._strange.values()
                ]
                if event.reason == "tool_calls" and not self._calls:
                    event = msgspec.structs.replace(event, reason="stop")
            out.append(event)
        return out
