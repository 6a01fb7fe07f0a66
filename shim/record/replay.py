"""What a recording holds, and how it compares with what today's code makes of it, byte for byte.

What differs is told item by item: bytes are for machines.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..notes import Note
from ..policy.schema import Policy
from ..route import choose
from ..shown import plain
from ..wire.paths import PATHS
from .differ import differences
from .pieces import answer_pieces, request_pieces
from .summary import route_fields

#: What stands where something is hidden, and what ends a body that could not be unpacked.
_HIDDEN = (b"MASKED_", b"[redacted]")
_CUT = b"[not recorded from here, of "
#: What a request, a policy and an answer decide; all else comes from outside of them.
_OF_PROMPTS = frozenset({("catch", "rule"), ("catch", "tools"), ("dedup", "left_out")})
_COMPUTED = _OF_PROMPTS | frozenset(
    {
        ("capabilities", "changed"),
        ("route", "effort"),
        ("route", "chosen"),
        ("route", "left_out"),
        ("state", "compaction"),
        ("translate", "translated"),
        ("repair", "repaired"),
    }
)


class Message(msgspec.Struct, frozen=True):
    """One recorded message: ``headers`` with lower-case names, ``body`` decoded; ``url`` is a
    request's whole address."""

    headers: dict[str, str]
    body: bytes
    path: str = ""
    status: int = 0
    url: str = ""


class Recorded(msgspec.Struct, frozen=True):
    """One recorded exchange; ``row`` is the comment that the recorder wrote (summary.Row).

    The upstream's half is missing where the turn never went out. ``broke`` says that a connection
    ended before its answer did; ``at`` is when the request came, in seconds since 1970; ``policy``
    was in force, where the recording has it.
    """

    row: dict[str, Any]
    request: Message
    response: Message | None
    upstream_request: Message | None = None
    upstream_response: Message | None = None
    broke: bool = False
    at: float = 0.0
    policy: Policy | None = None

    @property
    def name(self) -> str:
        """The exchange's id."""
        return str(self.row.get("exchange", "?"))

    @property
    def protocol(self) -> str:
        """The upstream's; empty where none was asked."""
        return str((self.row.get("route") or {}).get("protocol", ""))


class Difference(msgspec.Struct, frozen=True):
    """Where today's bytes differ from the recorded ones, and how they read around that place.

    ``items`` tells it item by item; empty where the same is said in other bytes.
    """

    exchange: str
    message: str
    at: int
    recorded: str
    today: str
    items: list[str] = []

    def __str__(self) -> str:
        if self.items:
            told = "\n".join(f"  {plain(item)}" for item in self.items)
            return f"{self.exchange}: {self.message} differs\n{told}"
        return (
            f"{self.exchange}: {self.message} differs at byte {self.at}\n"
            f"  recorded: {self.recorded}\n  today:    {self.today}"
        )


class Made(msgspec.Struct, frozen=True):
    """What today's code makes of a recorded exchange: the route, the request for the upstream, the
    client's answer with its status, and what was decided. No ``request``: the chain answers by
    itself, with a ``failure``, where it is one. No ``answer``: the recorded upstream's cannot be
    read on that route."""

    route: choose.Route | None
    request: bytes | None
    answer: bytes | None = None
    status: int = 0
    notes: list[Note] = []
    failure: str = ""


class Replayed(msgspec.Struct, frozen=True):
    """What came of replaying an exchange. ``not_compared`` says why something of it was not."""

    made: Made | None
    differences: list[Difference] = []
    not_compared: str = ""


class NotReplayable(Exception):
    """An exchange that today's code cannot take; the sentence says why."""


def compared(recorded: Recorded, made: Made, *, decisions: bool) -> Replayed:
    """``recorded`` against what today's code made of it; ``decisions``: under the same policy."""
    left = _left(recorded, made)
    found = list(_differences(recorded, made, answers=not left))
    if decisions:
        # What did not leave may have found nobody who answers.
        found += _decided(recorded, made, _OF_PROMPTS if left else _COMPUTED)
    return Replayed(made, found, left)


def _decided(
    recorded: Recorded, made: Made, computed: frozenset[tuple[str, str]]
) -> Iterator[Difference]:
    """Where something else was decided. What a file says is a note of this version."""
    notes = recorded.row.get("decisions") or ()
    was = [
        f"{note.get('stage')}: {note.get('text')}"
        for note in notes
        if isinstance(note, dict) and (note.get("stage"), note.get("code")) in computed
    ]
    now = [f"{n.stage}: {n.text}" for n in made.notes if (n.stage, n.code) in computed]
    if was != now:
        only = [f"recorded alone: {text}" for text in was if text not in now]
        only += [f"today alone: {text}" for text in now if text not in was]
        items = only or ["they come in another order"]
        yield Difference(recorded.name, "what was decided", 0, "", "", items)
    route = recorded.row.get("route")
    if (
        computed is _COMPUTED
        and route
        and made.route
        and route != (today := route_fields(made.route))
    ):
        items = [
            f"{name}: {route.get(name)!r}, today {today.get(name)!r}"
            for name in {*route, *today}
            if route.get(name) != today.get(name)
        ]
        yield Difference(recorded.name, "the route", 0, "", "", sorted(items))


def _differences(recorded: Recorded, made: Made, *, answers: bool) -> Iterator[Difference]:
    name, sent = recorded.name, recorded.upstream_request
    if sent is not None and made.request is None:
        yield Difference(name, "upstream request", 0, "a request", f"none: {made.failure}")
        return
    if sent is not None and made.request is not None and not _same(sent.body, made.request):
        path = PATHS[made.route.protocol] if made.route else sent.path
        was = request_pieces(sent.body, sent.path)
        items = differences(was, request_pieces(made.request, path))
        yield _difference(name, "upstream request", sent.body, made.request, items)
    if not answers or made.answer is None or recorded.response is None:
        return
    got, path = recorded.response, recorded.request.path
    if not _same(got.body, made.answer):
        items = differences(answer_pieces(got.body, path), answer_pieces(made.answer, path))
        yield _difference(name, "answer to the client", got.body, made.answer, items)
    elif made.status and got.status != made.status:
        yield Difference(name, "status of the answer", 0, str(got.status), str(made.status))


def _same(recorded: bytes, today: bytes) -> bool:
    """Whether both say the same, byte for byte. Where a key or a secret stood in what was written
    down, its JSON may have been written anew: there blanks do not count."""
    if recorded == today:
        return True
    hidden = any(mark in recorded for mark in _HIDDEN)
    return hidden and _lines(recorded) == _lines(today)


def _lines(data: bytes) -> list[bytes]:
    made = []
    for line in data.splitlines():
        name, colon, text = (
            line.partition(b": ") if line.startswith(b"data: ") else (b"", b"", line)
        )
        try:
            text = msgspec.json.format(text, indent=-1)
        except msgspec.DecodeError:
            pass
        made.append(name + colon + text)
    return made


def _left(recorded: Recorded, made: Made) -> str:
    """What of it nothing is compared with."""
    if _CUT in recorded.request.body:
        return "the request's body could not be recorded whole"
    if recorded.response is None:
        return "the client got no answer" if recorded.upstream_request is None else ""
    if recorded.upstream_request is None and made.request is not None:
        why = recorded.row.get("error") or "it was answered by the chain itself"
        return f"it did not leave: {why}"
    if made.request is not None and made.answer is None:
        if recorded.upstream_response is None:
            why = recorded.row.get("error") or "no answer came"
            return f"no upstream answered: {why}"
        return f"{made.route.label if made.route else 'the route'} answers in another protocol"
    return ""


def _difference(
    name: str, message: str, recorded: bytes, today: bytes, items: list[str]
) -> Difference:
    pairs = enumerate(zip(recorded, today, strict=False))
    at = next((n for n, (a, b) in pairs if a != b), min(len(recorded), len(today)))
    start = max(0, at - 40)

    def around(data: bytes) -> str:
        return data[start : at + 60].decode("utf-8", "replace").replace("\n", "⏎") or "(nothing)"

    return Difference(name, message, at, around(recorded), around(today), items)
