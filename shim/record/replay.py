"""Runs recorded exchanges through today's code and policy, offline, and compares byte for byte.

What differs is told item by item: bytes are for machines.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..policy.schema import Policy
from ..route import choose
from ..shown import plain
from ..turn import WireError
from ..wire.paths import PATHS, protocol_of
from ..wire.protocols import codec
from ..wire.translate import Translation
from .differ import differences
from .pieces import answer_pieces, request_pieces


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
    ended before its answer did; ``at`` is when the request came, in seconds since 1970.
    """

    row: dict[str, Any]
    request: Message
    response: Message | None
    upstream_request: Message | None = None
    upstream_response: Message | None = None
    broke: bool = False
    at: float = 0.0

    @property
    def name(self) -> str:
        """The exchange's id."""
        return str(self.row.get("exchange", "?"))


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


class Today(msgspec.Struct, frozen=True):
    """What today's code makes of a recorded exchange: the route, the request for the upstream, and
    the client's answer, None where the recorded upstream's cannot be translated on that route."""

    route: choose.Route
    request: bytes
    answer: bytes | None


class NotReplayable(Exception):
    """An exchange that today's code cannot take; the sentence says why."""


def today(
    recorded: Recorded, policy: Policy | None = None, *, default: str | None = None
) -> Today | None:
    """What today's code and ``policy`` make of ``recorded``; without a policy, on the recorded
    route. None for what never went upstream, and for what a policy had edited."""
    row = recorded.row
    try:
        protocol = protocol_of(recorded.request.path) or "responses"
        turn = codec(protocol).read_request(recorded.request.body)
        if row.get("seed"):
            turn.seed = row["seed"]
        if not row.get("route"):
            return None
        route = was = msgspec.convert(row["route"], choose.Route)
        if policy is not None:
            route = choose.choose(policy, turn.model, default=default, reverse=was.protocol)
        if recorded.upstream_request is None or row.get("edited"):
            # What a policy made of a prompt is tried by `policy diff`.
            return None
        translation = Translation(turn, route, codex=bool(row.get("codex")))
        body = translation.request()
    except (WireError, choose.NoRoute, msgspec.ValidationError) as e:
        raise NotReplayable(str(e)) from None
    answer = _answer(translation, recorded) if route.protocol == was.protocol else None
    return Today(route, body, answer)


def replay(
    recorded: Recorded, policy: Policy | None = None, *, default: str | None = None
) -> list[Difference]:
    """What today's code and ``policy`` would do otherwise; without a policy, the recorded route."""
    return list(_replay(recorded, policy, default))


def _replay(recorded: Recorded, policy: Policy | None, default: str | None) -> Iterator[Difference]:
    name = recorded.name
    try:
        made = today(recorded, policy, default=default)
    except NotReplayable as e:
        yield Difference(name, "request", 0, "a turn", str(e))
        return
    if made is None or recorded.upstream_request is None:
        return
    sent, path = recorded.upstream_request, PATHS[made.route.protocol]
    if sent.body != made.request:
        was = request_pieces(sent.body, sent.path)
        items = differences(was, request_pieces(made.request, path))
        yield _difference(name, "upstream request", sent.body, made.request, items)
    if made.answer is not None and recorded.response is not None:
        got, path = recorded.response.body, recorded.request.path
        if got != made.answer:
            items = differences(answer_pieces(got, path), answer_pieces(made.answer, path))
            yield _difference(name, "answer to the client", got, made.answer, items)


def _answer(translation: Translation, recorded: Recorded) -> bytes | None:
    upstream = recorded.upstream_response
    if upstream is None:
        return None
    translator = translation.translator()
    if translation.streams(upstream.status, upstream.headers):
        out = translator.feed(upstream.body)
        return out if recorded.broke else out + translator.close()
    url = recorded.upstream_request.url if recorded.upstream_request else ""
    head = upstream.status, upstream.headers
    answer = translation.answer(translator, *head, upstream.body, url)
    return upstream.body if answer is None or answer.body is None else answer.body


def _difference(
    name: str, message: str, recorded: bytes, today: bytes, items: list[str]
) -> Difference:
    pairs = enumerate(zip(recorded, today, strict=False))
    at = next((n for n, (a, b) in pairs if a != b), min(len(recorded), len(today)))
    start = max(0, at - 40)

    def around(data: bytes) -> str:
        return data[start : at + 60].decode("utf-8", "replace").replace("\n", "⏎") or "(nothing)"

    return Difference(name, message, at, around(recorded), around(today), items)
