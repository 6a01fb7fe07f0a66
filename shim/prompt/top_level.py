"""What a request says beside its conversation: settings that hold text, and tools.

Rules look at the texts of settings, also of those nobody here knows, as at any text of a developer.
Of tools they do but refuse: a client calls them by what it said they are. Secrets are masked in the
strings of both, which are mostly the same from turn to turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from ..json_text import members
from ..strings import VALUES
from ..turn import Turn
from .act import Acts
from .catch import Catch
from .elements import FIELDS, Element
from .pieces import Piece

#: Settings with words of the protocols and ids, and what only concerns the client's provider.
_SILENT = frozenset(
    {
        "model",
        "tool_choice",
        "function_call",
        "include",
        "truncation",
        "service_tier",
        "previous_response_id",
        "conversation",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "reasoning",
        "reasoning_effort",
        "verbosity",
        "thinking",
        "modalities",
        "client_metadata",
        "context_management",
        "container",
        "codex_capabilities",
    }
)
_TOOLS = ("tools", "functions")
_encode = msgspec.json.encode
#: It stands before all others.
_NUMBER = -1


class Hide(Protocol):
    """Masks what must not be sent."""

    def clean(self, elements: Sequence[Sequence[Piece] | None]) -> list[bool]:
        """Which of ``elements``, by their pieces, surely hold nothing to be masked."""

    def hide_json(
        self, raw: msgspec.Raw, place: str = "", *, values: frozenset[str] = frozenset()
    ) -> msgspec.Raw:
        """``raw``, which stands at ``place``, without secrets; the same object when it held none.
        All below a field of ``values`` is looked at. Unmaskable where one may not be changed."""


class TopLevel:
    """The settings and tools of one thread's turns; what came of them is kept while they stay."""

    def __init__(self, protocol: str, catch: Catch, off: set[int], hide: Hide | None) -> None:
        self._catch = catch
        self._off = off
        self._hide = hide
        self._read = {*_SILENT, *_TOOLS, *(name for name in FIELDS[protocol] if name)}
        self._given: tuple[dict[str, msgspec.Raw], ...] = ()
        self._changed: dict[str, msgspec.Raw] = {}
        self._acts = Acts()
        self._tools: dict[str, tuple[msgspec.Raw, msgspec.Raw]] = {}

    def edited(self, turn: Turn) -> tuple[dict[str, msgspec.Raw], Acts]:
        """The top-level fields that become something else, and what was done."""
        unread = turn.own.keys() - self._read
        given = {name: raw for name in unread if _speaks(raw := turn.own[name])}
        tools = {name: turn.own[name] for name in _TOOLS if name in turn.own}
        if (given, tools) != self._given:
            # Known only when it has been looked at: a retry of what is refused is refused, too.
            self._given, self._acts = (), Acts()
            self._changed = self._edited(given) if given else {}
            if tools and self._catch.refuses:
                self._look(tools)
            self._given = (given, tools)
        changed = dict(self._changed)
        if self._hide:
            for name, raw in tools.items():
                changed |= self._masked(name, raw, self._hide)
        return changed, self._acts

    def _edited(self, given: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
        raw = edited_raw = msgspec.Raw(_encode(dict(sorted(given.items()))))
        if self._catch.looks:
            element = Element("settings", raw, {}, False)
            for piece in element.strings:
                for rule in self._catch.found(piece, _NUMBER):
                    if rule.number not in self._off:
                        self._acts.act(rule, piece, element)
            edited_raw = element.settled() or raw
        if self._hide:
            edited_raw = self._hide.hide_json(edited_raw)
        if edited_raw is raw:
            return {}
        return {name: value for name, value in members(edited_raw).items() if value != given[name]}

    def _look(self, tools: dict[str, msgspec.Raw]) -> None:
        """Refuse what no tool may say."""
        element = Element("settings", msgspec.Raw(_encode(tools)), {}, False)
        for piece in element.strings:
            for rule in self._catch.found(piece, _NUMBER):
                if rule.rule.refuse is not None and rule.number not in self._off:
                    self._acts.act(rule, piece, element)

    def _masked(self, name: str, raw: msgspec.Raw, hide: Hide) -> dict[str, msgspec.Raw]:
        known = self._tools.get(name)
        if known is None or known[0] != raw:
            known = self._tools[name] = (raw, hide.hide_json(raw, name, values=VALUES))
        return {} if known[1] is known[0] else {name: known[1]}


def _speaks(raw: msgspec.Raw) -> bool:
    """Whether a setting may hold words, as numbers and the like do not, whatever it is called."""
    return bytes(memoryview(raw)[:1]) in (b'"', b"[", b"{")
