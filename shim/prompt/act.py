"""What catch rules do to a piece of a prompt, and the account of what they did."""

from __future__ import annotations

from hashlib import blake2b

from .catch import Rule
from .elements import Element
from .pieces import CALL, Piece

#: What the model wrote as a call is looked at only: it would not know its own words again.
_CALLS = frozenset({"function_call", "custom_tool_call"})


class Acts:
    """``refused`` is (rule, what the client is told)."""

    def __init__(self) -> None:
        self.tags: set[str] = set()
        self.refused: tuple[str, str] | None = None
        self._seen: set[bytes] = set()
        self._done: dict[str, list[int]] = {}

    def act(self, rule: Rule, piece: Piece, element: Element) -> None:
        """Do to ``piece`` of ``element`` what ``rule`` wants; its condition holds. Where the piece
        may not be changed the turn is refused."""
        wants, before = rule.rule, piece.text
        if wants.refuse is not None:
            self.refused = self.refused or (rule.label, wants.refuse)
            self.count(rule.label, 0)
        elif wants.tag is not None:
            self.tags.add(wants.tag)
            self.count(rule.label, 0)
        elif not piece.gone and piece.item not in _CALLS and piece.immutable != CALL:
            if wants.drop:
                piece.gone = True
            elif wants.replace:
                piece.text = _replaced(rule, before)
            elif wants.strip:
                self._strip(rule, piece)
            elif rule.limit is not None:
                piece.text = _capped(rule, before)
            if piece.immutable and (piece.gone or piece.text != before):
                piece.gone, piece.text = False, before
                message = f"{element.where(piece)} may not be changed: {piece.immutable}"
                self.refused = self.refused or (rule.label, message)
                self.count(rule.label, 0)
            elif piece.gone:
                self.count(rule.label, -len(before))
            elif piece.text != before:
                self.count(rule.label, len(piece.text) - len(before))

    def count(self, label: str, change: int) -> None:
        """Note that the rule did something once more, and by how many characters."""
        count = self._done.setdefault(label, [0, 0])
        count[0] += 1
        count[1] += change

    def notes(self) -> list[str]:
        """What was done so far, a line per rule."""
        message = []
        for label, (times, change) in self._done.items():
            size = f", {abs(change)} characters {'more' if change > 0 else 'less'}"
            often = "once" if times == 1 else f"{times} times"
            message.append(f"rule {label} applied {often}{size if change else ''}")
        return message

    def _strip(self, rule: Rule, piece: Piece) -> None:
        """Leave out what stood there before: only a later one goes, nothing sent is changed."""

        def again(text: str) -> bool:
            mark = blake2b(f"{rule.number} {text}".encode(), digest_size=16).digest()
            known = mark in self._seen
            self._seen.add(mark)
            return known

        if rule.pattern is None:
            piece.gone = again(piece.text)
        else:
            once = rule.pattern.sub(lambda m: "" if again(m.group()) else m.group(), piece.text)
            piece.gone = piece.text != once and not once.strip()
            piece.text = once


def _replaced(rule: Rule, text: str) -> str:
    replace = rule.rule.replace
    assert replace
    if replace.text is not None:
        return text.replace(replace.text, replace.with_)
    return str(rule.pattern.sub(replace.with_, text)) if rule.pattern else text


def _capped(rule: Rule, text: str) -> str:
    """``text`` without its middle where it is longer than allowed; cut between lines if it can."""
    data, most = text.encode(), rule.limit or 0
    if len(data) <= most:
        return text
    half = most // 2
    head = data[:half].decode(errors="ignore")
    tail = data[len(data) - half :].decode(errors="ignore")
    first, last = head.rfind("\n") + 1, tail.find("\n") + 1
    head = head[:first] if first > len(head) // 2 else head
    tail = tail[last:] if 0 < last < len(tail) // 2 else tail
    left = len(data) - len(head.encode()) - len(tail.encode())
    return f"{head.rstrip()}\n[{left} bytes left out here by the rule {rule.label}]\n{tail}"
