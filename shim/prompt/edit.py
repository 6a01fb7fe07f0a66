"""What a policy makes of a prompt: one pass over its elements, each edited as it comes.

The pass is a causal transducer (DESIGN.md, rule 4): what becomes of an element depends on what
came before it and on the policy. So the editor of a thread is kept, and its next turn pays for its
new elements only; a fresh editor makes the same of the same prompt.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec

from ..client import Facts
from ..json_text import has_lone_surrogates, split
from ..policy.rules import Dedup as DedupRules
from ..policy.rules import Inject
from ..turn import Turn
from . import inject
from .act import Acts
from .catch import Catch
from .dedup import Dedup
from .elements import FIELDS, Element, Prompt, head_of, read_prompt, with_own, write_prompt
from .light import glance, strings_of
from .mask import Unmaskable
from .pieces import Piece
from .splice import spliced
from .top_level import Hide, TopLevel


@dataclass
class Outcome:
    """What a policy made of one turn; ``notes`` say which rule did what, ``dedup`` what was left
    out because it stands there already, and ``saved`` how many characters these were, of
    which ``saved_anew`` for the first time."""

    turn: Turn
    tags: set[str] = field(default_factory=set)
    refused: tuple[str, str] | None = None
    notes: list[str] = field(default_factory=list)
    dedup: str = ""
    saved: int = 0
    saved_anew: int = 0


class Editor:
    """Edits one prompt. ``sent`` is what became of the elements it was fed."""

    def __init__(
        self,
        protocol: str,
        catch: Catch,
        facts: Facts,
        hide: Hide | None,
        rules: DedupRules | None = None,
    ) -> None:
        self.catch = catch
        self.hide = hide
        self.rules = rules
        #: What is changed for one turn only cannot be referred to.
        self.dedup = Dedup(rules, still=not catch.looks_at_newest) if rules else None
        self.acts = Acts()
        self.head: msgspec.Raw | None = None
        self.head_sent: msgspec.Raw | None = None
        self.sent: list[msgspec.Raw] = []
        self.changed = False
        self._seen = b""
        self._count = 0
        #: So many elements at the beginning are sent as they came, and not in ``sent``.
        self.untouched = 0
        self._protocol = protocol
        self._head_name, self._name = FIELDS[protocol]
        self._plain = False
        self._off = catch.off(facts)
        self.top_level = TopLevel(protocol, catch, self._off, hide)
        self._injects: list[Inject] = []
        for rule in catch.injects:
            if rule.rule.inject and rule.number not in self._off:
                self._injects.append(rule.rule.inject)
                self.acts.count(rule.label, len(rule.rule.inject.text or ""))
        self._tools: dict[str, str] = {}
        self._leading = bool(self._injects)

    def begin(self, head: msgspec.Raw | None) -> None:
        """The instructions before the conversation; comes first."""
        self.head = sent = head
        if head is not None:
            looks = self.catch.looks
            place = str(self._head_name)
            element = Element(self._protocol, head, self._tools, True, place) if looks else None
            sent = self._edited(head, element, True, number=-1)
        if self._protocol == "messages" and self._injects:
            sent = inject.system(sent, self._injects)
        if sent is not None:
            sent = self._deduped(sent, None, head=True)
        self.head_sent = sent
        self.changed = sent is not head

    def skip(self, turn: Turn, whole: bytes) -> bool:
        """Take all of the conversation ``whole`` as fed where no rule holds in it; whether that is
        so."""
        if self.hide or self.dedup or self._injects or self._count:
            return False
        elements = glance(turn, self._tools)
        if elements is None or not self.catch.holds_nowhere(elements):
            self._tools.clear()
            return False
        self._count = self.untouched = len(elements)
        self._see(whole)
        return True

    def _see(self, whole: bytes) -> None:
        # Without the bracket at its end.
        self._seen = whole.rstrip()[:-1].rstrip() if whole[:1] == b"[" else b""

    def more(self, head: msgspec.Raw | None, raw: bytes) -> list[msgspec.Raw] | None:
        """The elements of the conversation ``raw`` (JSON) that were not fed yet; None when it does
        not begin with those that were."""
        if not self._seen or self.head != head or not raw.startswith(self._seen):
            return None
        rest = raw[len(self._seen) :].lstrip()
        if rest[:1] == b"]":
            return []
        return split(b"[" + rest[1:], self._name) if rest[:1] == b"," else None

    def feed(self, elements: list[msgspec.Raw], whole: bytes) -> None:
        """The elements that come next; ``whole`` is the conversation with them."""
        decoded: list[Element | None] = [None] * len(elements)
        search = False
        self._plain = whole[:1] == b'"'
        if self.catch.looks:
            decoded = [
                Element(self._protocol, raw, self._tools, False, self._place(self._count + n))
                for n, raw in enumerate(elements)
            ]
            search = self.catch.may_find(p for e in decoded if e for p in e.strings)
        strings = [element.strings if element else None for element in decoded]
        if not self.catch.looks and (self.hide or self.dedup):
            strings = strings_of(self._protocol, elements, self._tools, exact=self.hide is not None)
        clean = self.hide.clean(strings) if self.hide else [False] * len(elements)
        for n, raw in enumerate(elements):
            if self._leading:
                self._inject(raw)
            kept = self._edited(raw, decoded[n], search, strings=strings[n], clean=clean[n])
            self.changed = self.changed or kept is not raw
            self._count += 1
            if kept is not None:
                self.sent.append(kept)
        self._see(whole)

    def tail(self, sent: list[msgspec.Raw], acts: Acts) -> list[msgspec.Raw]:
        """What is sent in all, with what changes every turn: the newest message, the end."""
        if self.catch.looks_at_newest:
            for at in range(len(sent) - 1, -1, -1):
                place = f"{self._name}[newest]"
                element = Element(self._protocol, sent[at], {}, False, place)
                if any(p.role == "user" and p.item == "message" for p in element.pieces):
                    self._apply(element, at, acts, newest=True, search=True)
                    kept = element.settled()
                    sent[at : at + 1] = [] if kept is None else [kept]
                    break
        return sent + inject.elements(self._protocol, self._injects, "end")

    def _edited(
        self,
        raw: msgspec.Raw,
        element: Element | None,
        search: bool,
        number: int | None = None,
        *,
        strings: list[Piece] | None = None,
        clean: bool = False,
    ) -> msgspec.Raw | None:
        kept: msgspec.Raw | None = raw
        if element is not None:
            if search or not self.catch.only_text(element.strings):
                at = self._count if number is None else number
                self._apply(element, at, self.acts, search=search)
            kept = element.settled()
        if kept is None:
            return None
        if self.hide and not (clean and kept is raw):
            place = str(self._head_name) if number == -1 else self._place(self._count)
            try:
                kept = self.hide.hide_json(kept, place)
            except Unmaskable as e:
                self.acts.refused = self.acts.refused or (e.rule, str(e))
        # The head is done when all is in it.
        return kept if number == -1 else self._deduped(kept, strings if kept is raw else None)

    def _deduped(
        self, raw: msgspec.Raw, strings: list[Piece] | None, *, head: bool = False
    ) -> msgspec.Raw:
        """``raw`` without what stands before it; what was masked or dropped is gone by now."""
        if self.dedup is None:
            return raw
        if strings is not None:
            pieces = [piece for piece in strings if piece.part >= 0]
            if not self.dedup.feed(pieces):
                # Most elements stay as they are, and are not taken apart for that.
                return raw
            changes = {piece.path: piece.text for piece in pieces if piece.text != piece.first}
            return spliced(raw, changes, has_surrogates=has_lone_surrogates(raw))
        place = str(self._head_name) if head else self._place(self._count)
        element = Element(self._protocol, raw, self._tools, head, place)
        self.dedup.feed(element.pieces)
        return element.settled() or raw

    def _apply(
        self, element: Element, number: int, acts: Acts, *, search: bool, newest: bool = False
    ) -> None:
        for piece in element.strings:
            for rule in self.catch.found(piece, number, newest=newest, search=search):
                if rule.number not in self._off:
                    acts.act(rule, piece, element)

    def top_level_fields(self, turn: Turn) -> tuple[dict[str, msgspec.Raw], Acts]:
        """What becomes of the fields of ``turn`` beside its conversation, and what was done."""
        try:
            return self.top_level.edited(turn)
        except Unmaskable as e:
            acts = Acts()
            acts.refused = (e.rule, str(e))
            return {}, acts

    def _place(self, number: int) -> str:
        return self._name if self._plain else f"{self._name}[{number}]"

    def _inject(self, raw: msgspec.Raw) -> None:
        before = len(self.sent)
        put = inject.elements(self._protocol, self._injects, "start") if not self._count else []
        if not inject.instructs(raw):
            self._leading = False
            put += inject.elements(self._protocol, self._injects, "after_instructions")
        self.sent += [self._deduped(element, None) for element in put]
        self.changed = self.changed or len(self.sent) != before


class Editors:
    """The editors of the threads under way; ``most`` bytes of prompts are kept."""

    def __init__(self, most: int = 64 << 20) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, str], tuple[Editor, int]] = OrderedDict()
        self._bytes = 0

    def edit(
        self,
        turn: Turn,
        catch: Catch,
        facts: Facts,
        hide: Hide | None = None,
        rules: DedupRules | None = None,
    ) -> Outcome:
        """``turn`` as the policy wants it. May take some milliseconds per megabyte that is new."""
        if not (catch or hide or rules):
            return Outcome(turn)
        raw, head = bytes(turn.own.get(FIELDS[turn.protocol][1], b"")), head_of(turn)
        key = (facts.thread, turn.protocol)
        # Taken out while it works: another turn of the same thread begins afresh.
        editor, size = self._kept.pop(key, (None, 0))
        self._bytes -= size
        new: list[msgspec.Raw] | None = None
        before = 0
        if editor and editor.catch is catch and editor.hide is hide and editor.rules is rules:
            new = editor.more(head, raw)
        if editor is None or new is None:
            editor = Editor(turn.protocol, catch, facts, hide, rules)
            editor.begin(head)
            if not editor.skip(turn, raw):
                editor.feed(read_prompt(turn).elements, raw)
        else:
            before = editor.dedup.saved if editor.dedup else 0
            editor.feed(new, raw)
        if facts.thread:
            # Lines that can be referred to are kept beside the elements.
            size = len(turn.body) * (4 if rules else 1)
            self._kept[key] = (editor, size)
            self._bytes += size
            while self._bytes > self._most:
                self._bytes -= self._kept.popitem(last=False)[1][1]
        acts = Acts()
        if editor.changed or catch.moves:
            whole = read_prompt(turn) if editor.untouched else None
            sent = [*(whole.elements if whole else ())[: editor.untouched], *editor.sent]
            told = editor.tail(sent.copy(), acts) if catch.moves else sent
            if editor.changed or told != sent:
                turn = write_prompt(turn, Prompt(turn.protocol, editor.head_sent, told))
        fields, more = editor.top_level_fields(turn)
        if fields:
            turn = with_own(turn, {**turn.own, **fields})
        return Outcome(
            turn,
            editor.acts.tags | acts.tags | more.tags,
            editor.acts.refused or acts.refused or more.refused,
            editor.acts.notes() + acts.notes() + more.notes(),
            editor.dedup.note() if editor.dedup and editor.dedup.runs else "",
            editor.dedup.saved if editor.dedup else 0,
            editor.dedup.saved - before if editor.dedup else 0,
        )
