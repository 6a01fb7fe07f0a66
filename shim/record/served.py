"""A recording in the place of the upstream: which recorded answer a live turn gets.

A live thread stands for a recorded one, and its turns for that one's in their order. What the turns
say decides nothing, since ids and paths are others every time; it is compared, and told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from ..client import Facts, facts_of
from ..state.expand import is_compact
from ..turn import Turn, WireError
from ..wire.paths import protocol_of
from ..wire.protocols import codec
from . import sanitise
from .differ import differences
from .pieces import Piece, conversation
from .replay import Message, Recorded

#: What differs from run to run without meaning anything.
_PASSING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\b(?=[a-f]*\d)[0-9a-f]{6,}\b"
    r"|\b\d{4}-\d\d-\d\d\b"
    r"|\b\d+(?:\.\d+)?(?= ?(?:m?s|seconds)\b)"
    r"|/(?:tmp|home|Users)/[\w.-]+"
)


class Told(msgspec.Struct, frozen=True):
    """One recorded turn: what was asked, in pieces, and what the client got."""

    name: str
    model: str
    pieces: list[Piece]
    facts: Facts
    response: Message | None

    @property
    def last_said(self) -> str:
        """What the user said last."""
        return _last_said(self.pieces)


class Match(msgspec.Struct, frozen=True):
    """The answer for a live turn: where it stands, and in what the turn differs from the recorded
    one. Without ``told`` there is none, and ``where`` says why. ``project`` is the folder the live
    agent works in."""

    where: str
    told: Told | None = None
    differs: list[str] = []
    project: str = ""

    @property
    def body(self) -> bytes:
        """What the client gets: what was recorded, with the folder the agent works in for the
        recorded one, since some tools take whole paths."""
        response = self.told.response if self.told else None
        body = response.body if response else b""
        was = self.told.facts.project if self.told else ""
        if len(was) < 2 or not self.project or was == self.project:
            return body
        place = re.compile(rf"(?<![\w.-]){re.escape(was)}(?![\w.-]*\w)")
        return sanitise.body(body, lambda text: place.sub(lambda _: self.project, text))


class _Thread:
    """A live thread: which recorded one it stands for, and how far it is."""

    def __init__(self, name: str, turns: list[Told]) -> None:
        self.name = name
        self.turns = turns
        self.at = 0
        self.last: list[Piece] = []


class Served:
    """The recorded exchanges of a file, given out turn by turn."""

    def __init__(self, recorded: Iterable[Recorded]) -> None:
        self._threads: dict[str, list[Told]] = {}
        for r in sorted(recorded, key=lambda r: r.at):
            if told := _told(r):
                self._threads.setdefault(told.facts.thread, []).append(told)
        self._live: dict[str, _Thread] = {}
        self._taken = dict.fromkeys(self._threads, 0)

    @property
    def turns(self) -> int:
        """How many turns are recorded."""
        return sum(map(len, self._threads.values()))

    def match(self, headers: Mapping[str, str], turn: Turn) -> Match:
        """The recorded answer for the live ``turn``. WireError where its items cannot be read."""
        facts, pieces = facts_of(headers, turn), conversation(turn)
        thread = self._live.get(facts.thread)
        if thread is None or self._begins_again(thread, pieces):
            thread = self._live[facts.thread] = self._begin(turn.model, pieces)
        at = thread.at
        if pieces == thread.last and at and not _repeats(thread.turns, at):
            # A client that lost its answer asks again, and the recorded one did not.
            at -= 1
        if at >= len(thread.turns):
            many = len(thread.turns)
            return Match(f"the recording ends after turn {many} of its thread {thread.name}")
        thread.at, thread.last = at + 1, pieces
        told = thread.turns[at]
        where = f"turn {at + 1} of {len(thread.turns)} of the recorded thread {thread.name}"
        known = _known(thread.turns, at)
        differs = _differs(told, turn.model, pieces, facts, known)
        return Match(where, told, differs, facts.project)

    def _begin(self, model: str, pieces: list[Piece]) -> _Thread:
        """The recorded thread that a new one stands for: the one that began with the same words,
        else with the same model, else the next."""
        said = _last_said(pieces)

        def rank(name: str) -> tuple[bool, bool, int]:
            first = self._threads[name][0]
            return first.last_said != said, first.model != model, self._taken[name]

        name = min(self._threads, key=rank)
        self._taken[name] += 1
        return _Thread(name, self._threads[name])

    def _begins_again(self, thread: _Thread, pieces: list[Piece]) -> bool:
        """Whether a client that names no threads starts over with the same words."""
        first = thread.turns[0]
        over = thread.at >= len(thread.turns) and pieces != thread.last
        return over and len(pieces) <= len(first.pieces) and _last_said(pieces) == first.last_said


def _told(recorded: Recorded) -> Told | None:
    path = recorded.request.path
    protocol = "responses" if is_compact(path) else protocol_of(path)
    if protocol is None:
        return None
    try:
        turn = codec(protocol).read_request(recorded.request.body)
        pieces, facts = conversation(turn), facts_of(recorded.request.headers, turn)
    except WireError:
        return None
    return Told(recorded.name, turn.model, pieces, facts, recorded.response)


def _repeats(turns: list[Told], at: int) -> bool:
    """Whether the recorded client, too, asked the same again."""
    return at < len(turns) and turns[at].pieces == turns[at - 1].pieces


def _known(turns: list[Told], at: int) -> int:
    """How many items of a turn were compared with the turn before."""
    before = len(turns[at - 1].pieces) if at else 0
    return before if before <= len(turns[at].pieces) else 0


def _differs(told: Told, model: str, pieces: list[Piece], facts: Facts, known: int) -> list[str]:
    said = []
    if model != told.model:
        said.append(f"the model is {model or 'none'}, recorded {told.model or 'none'}")
    known = min(known, len(pieces))
    before = [_loose(piece, told.facts.project) for piece in told.pieces[known:]]
    after = [_loose(piece, facts.project) for piece in pieces[known:]]
    return said + differences(before, after, "recorded", "now", start=known)


def _loose(piece: Piece, project: str) -> Piece:
    """``piece`` without what differs from run to run."""
    text = piece.text.replace(project, "<project>") if project else piece.text
    return Piece(piece.kind, piece.label, _PASSING.sub("<…>", text), piece.key)


def _last_said(pieces: list[Piece]) -> str:
    said = [p.text for p in pieces if p.kind == "message" and p.label == "user"]
    return said[-1] if said else ""
