"""Catch rules: what a policy changes in a prompt, or keeps from it.

Rules are compiled once per policy. All their texts and patterns are looked for in one pass of an
RE2 set, so that what a prompt costs depends on its length, not on the number of rules. An edit
depends on what stands before it and on the policy only (DESIGN.md, rule 4); the one exception,
``position: newest``, is kept apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import re2

from ..client import Facts
from ..policy.match import Needles, fits, pattern_options
from ..policy.rules import CatchRule, Part
from ..policy.units import size
from .pieces import Piece


class Rule:
    """One rule, ready to be used. ``needles`` are its numbers in the set; all must be found."""

    def __init__(self, number: int, rule: CatchRule) -> None:
        when = rule.when
        self.rule = rule
        self.number = number
        self.label = rule.name or f"catch[{number}]"
        self.needles: list[int] = []
        roles = (when.role,) if isinstance(when.role, str) else when.role
        self._roles = roles and {"developer" if r == "system" else r for r in roles}
        self._most = None if when.smaller_than is None else size(when.smaller_than)
        self._least = None if when.larger_than is None else size(when.larger_than)
        self.limit = None if rule.cap is None else size(rule.cap)
        self._position = when.position if isinstance(when.position, int) else None
        #: What was refused once stands in the history of the turns that follow, and is looked for
        #: there: nothing has to be remembered for that.
        self._in_messages = when.position == "newest" and rule.refuse is not None
        self.newest = when.position == "newest" and not self._in_messages
        self._cheap = self._position is None and self._least is None and self._most is None
        source = rule.replace.pattern if rule.replace else when.pattern
        self.pattern = re2.compile(source, pattern_options()) if source else None

    def concerns(self, role: str, item: str, tool: str | None) -> bool:
        """Whether the rule is about such pieces at all."""
        when = self.rule.when
        if self._in_messages and (role, item) != ("user", "message"):
            return False
        if self._roles and role not in self._roles:
            return False
        return fits(when.item, item) and fits(when.tool, tool)

    @property
    def fits_fields(self) -> bool:
        """Whether the rule is about strings that are no text of their own too: a name or a setting
        is neither a short message nor one that says nothing new."""
        return bool(self.needles) or self._least is not None

    def holds(self, piece: Piece, number: int) -> bool:
        """Whether the rest of its condition holds, but for texts and patterns."""
        if self._cheap:
            return True
        if self._position is not None and self._position != number:
            return False
        text = piece.first
        long = len(text) if text.isascii() else len(text.encode())
        return not (
            (self._least is not None and long <= self._least)
            or (self._most is not None and long >= self._most)
        )


class Catch:
    """The catch rules of one policy."""

    def __init__(self, rules: Sequence[CatchRule]) -> None:
        made = [Rule(n, rule) for n, rule in enumerate(rules)]
        self.injects = [r for r in made if r.rule.inject]
        self._rules = [r for r in made if not r.rule.inject]
        self._needles = Needles()
        for rule in self._rules:
            rule.needles = _needles(rule.rule, self._needles)
        self._needles.done()
        self._kinds: dict[tuple[str, str, str | None, bool, bool], _Kind] = {}
        self.looks = any(not r.newest for r in self._rules)
        self.refuses = any(r.rule.refuse is not None and not r.newest for r in self._rules)
        self.looks_at_newest = any(r.newest for r in self._rules)
        ends = any(r.rule.inject and r.rule.inject.at == "end" for r in self.injects)
        self.moves = self.looks_at_newest or ends
        self._bound = [r for r in made if r.rule.when.client or r.rule.when.project]

    def __bool__(self) -> bool:
        return bool(self._rules or self.injects)

    def off(self, facts: Facts) -> set[int]:
        """The rules that are about other clients or projects."""
        return {r.number for r in self._bound if not _meant(r.rule.when, facts)}

    def holds_nowhere(self, elements: list[list[Piece]]) -> bool:
        """Whether no rule but one about the newest message can hold for any text of ``elements``,
        which are a conversation from its beginning."""
        if self._needles.anywhere([piece.first for pieces in elements for piece in pieces]):
            return False
        known = self._kinds
        for number, pieces in enumerate(elements):
            for piece in pieces:
                key = (piece.role, piece.item, piece.tool, piece.part < 0, False)
                for rule in (known.get(key) or self._kind(piece, False)).plain:
                    if rule.holds(piece, number):
                        return False
        return True

    def may_find(self, pieces: Iterable[Piece]) -> bool:
        """Whether a text or pattern of a rule may stand in one of ``pieces``."""
        return self._needles.anywhere([piece.first for piece in pieces])

    def only_text(self, pieces: Iterable[Piece]) -> bool:
        """Whether all rules about ``pieces`` look for a text or a pattern."""
        return not any(self._kind(piece, False).plain for piece in pieces)

    def _kind(self, piece: Piece, newest: bool) -> _Kind:
        key = (piece.role, piece.item, piece.tool, piece.part < 0, newest)
        kind = self._kinds.get(key)
        if kind is None:
            about = [r for r in self._rules if r.newest is newest and r.concerns(*key[:3])]
            if piece.part < 0:
                about = [r for r in about if r.fits_fields]
            kind = self._kinds[key] = _Kind(about)
        return kind

    def found(
        self, piece: Piece, number: int, *, newest: bool = False, search: bool = True
    ) -> list[Rule]:
        """The rules that hold for ``piece`` of the element ``number``, in the policy's order.

        Without ``search`` it is known that none of their texts and patterns is there.
        """
        kind = self._kind(piece, newest)
        if not kind.any:
            return []
        hits = self._needles.found(piece.first) if search and kind.searches else _NOTHING
        if not hits:
            return [r for r in kind.plain if r.holds(piece, number)]
        found = {r.number: r for n in hits for r in kind.by_needle.get(n, ())}
        all_found = [r for r in found.values() if hits.issuperset(r.needles)] + kind.plain
        return sorted((r for r in all_found if r.holds(piece, number)), key=lambda r: r.number)


_NOTHING: set[int] = set()


class _Kind:
    """The rules about one kind of piece: with a text to look for, and without."""

    def __init__(self, rules: list[Rule]) -> None:
        self.any = bool(rules)
        self.plain = [r for r in rules if not r.needles]
        self.by_needle: dict[int, list[Rule]] = {}
        for rule in rules:
            for needle in rule.needles:
                self.by_needle.setdefault(needle, []).append(rule)
        self.searches = bool(self.by_needle)


def _needles(rule: CatchRule, needles: Needles) -> list[int]:
    """What must stand in a text for ``rule`` to do anything with it."""
    found = [needles.pattern(p) for p in (rule.when.pattern,) if p]
    found += [needles.text(t) for t in (rule.when.text,) if t]
    if rule.replace and rule.replace.text:
        found.append(needles.text(rule.replace.text))
    elif rule.replace and rule.replace.pattern:
        found.append(needles.pattern(rule.replace.pattern))
    return found


def _meant(when: Part, facts: Facts) -> bool:
    """Whether a rule is about turns of this client and project."""
    return fits(when.client, facts.client) and fits(when.project, facts.project)
