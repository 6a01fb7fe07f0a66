"""Calls in the text of an answer's events: the proper calls in the place of what stood for them.

What the model says and what it thinks are looked at apart. A call among its thoughts counts only
where it thinks no further and says nothing: then it has forgotten to say it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..turn import CallDelta, CallStart, Event, Failure, Finish, Reasoning, Text
from .checks import Toolbox
from .forms import forms
from .scan import Found, Missed, Piece, Scanner

#: Keys of calls from text, beyond those that an upstream counts.
_FIRST_KEY = 1 << 20


class Rules(msgspec.Struct, frozen=True):
    """What is looked for in an answer: names of dialects, and how strict the rules are.
    ``arguments``: broken arguments of proper calls are mended too. ``always``: also where client
    and upstream speak alike."""

    dialects: tuple[str, ...]
    strictness: str = "normal"
    arguments: bool = True
    always: bool = False


class TextCalls:
    """Makes calls of text. ``seed`` makes the ids, and is asked for when the first call is there;
    ``note`` hears of each repair, ``missed`` of what looked like a call and is none."""

    def __init__(
        self,
        rules: Rules,
        tools: Toolbox,
        seed: Callable[[], str],
        *,
        note: Callable[[str], None] | None = None,
        missed: Callable[[Missed], None] | None = None,
    ) -> None:
        looked_for = forms(rules.dialects, tools.tags)
        self._says = Scanner(looked_for, tools.check, rules.strictness, missed=missed)
        self._thinks = Scanner(looked_for, tools.check, rules.strictness, ends=True, missed=missed)
        self._seed = seed
        self._note = note
        self._made = 0
        self._native = False

    @property
    def plain(self) -> Callable[[str], bool]:
        """Says quickly of a piece of text whether it may pass as it is; then it counts as said."""
        return self._says.plain

    def filter(self, events: list[Event]) -> list[Event]:
        """``events``, with calls in the place of what stood for them."""
        if self._native:
            return events
        out: list[Event] = []
        for event in events:
            kind = type(event)
            if kind is Text:
                assert isinstance(event, Text)
                if self._says.plain(event.text):
                    out.append(event)
                else:
                    self._text(event.text, out)
            elif kind is Reasoning:
                assert isinstance(event, Reasoning)
                if self._thinks.plain(event.text):
                    out.append(event)
                else:
                    self._put(self._thinks.feed(event.text), Reasoning, out)
                    self._says.pause(self._thinks.holds)
            elif kind is CallStart:
                # A model that calls as it should means its text as text.
                self._native = True
                self._put(self._thinks.release(), Reasoning, out)
                self._put(self._says.release(), Text, out)
                out.append(event)
            elif isinstance(event, Finish | Failure):
                out.append(self._end(event, out))
            else:
                out.append(event)
        return out

    def _text(self, text: str, out: list[Event]) -> None:
        if text.strip() and self._thinks.holds:
            self._put(self._thinks.release(), Reasoning, out)
            self._says.pause(False)
        self._put(self._says.feed(text), Text, out)

    def _end(self, event: Finish | Failure, out: list[Event]) -> Event:
        cut = isinstance(event, Failure) or event.reason not in ("stop", "tool_calls")
        said = self._says.end(cut)
        thought = self._thinks.end(cut)
        if any(isinstance(piece, Found) or piece.strip() for piece in said):
            thought = [p if isinstance(p, str) else p.text for p in thought]
        self._put(thought, Reasoning, out)
        self._put(said, Text, out)
        if isinstance(event, Finish) and event.reason == "stop" and self._made:
            return msgspec.structs.replace(event, reason="tool_calls")
        return event

    def _put(
        self, pieces: list[Piece], kind: type[Text] | type[Reasoning], out: list[Event]
    ) -> None:
        for piece in pieces:
            if isinstance(piece, Found):
                self._call(piece, out, kind is Reasoning)
            # What stands between calls is for nobody.
            elif piece and not (self._made and kind is Text and not piece.strip()):
                out.append(kind(piece))

    def _call(self, found: Found, out: list[Event], thought: bool) -> None:
        for call in found.calls:
            key = _FIRST_KEY + self._made
            self._made += 1
            out.append(CallStart(key, f"call_{self._seed()[:16]}_{self._made}", call.name))
            out.append(CallDelta(key, call.arguments))
            if self._note:
                where = "thoughts" if thought else "text"
                self._note(f"a call of {call.name}{call.note} made of {where} ({found.dialect})")
